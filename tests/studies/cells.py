"""What a cell of a study's notebook makes, next to what the page says: numbers of each question.

A question is a function of the names that exist after its cell ran, of the question's numbers in
``result.json``, and of its tables; it gives pairs of values, from the cell and from the page.
"""

import csv

import torch


def numbers_of(value):
    """A tensor, an array or a container as plain numbers in a list."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for one in value for number in numbers_of(one)]
    return [value]


def table_of(folder, question):
    """Reads ``tables/QUESTION-NAME.csv`` as rows of texts by title."""

    def table(name):
        with (folder / "tables" / f"{question}-{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return table


def column(rows, title):
    return [float(row[title]) for row in rows]


def rounded(values, digits):
    return [round(float(value), digits) for value in numbers_of(values)]


def accuracies(cell, page, table):
    return [(cell["accuracies"], page["test_accuracies"])]


ASSIGNMENT_2_REPORT = {
    "training": accuracies,
    "parameters": lambda cell, page, table: [
        (getattr(cell["summary"], name), page[name])
        for name in ("parameters", "neurons", "document_neurons")
    ],
    "batch-normalization": lambda cell, page, table: [
        (cell["accuracies"], page["test_accuracies"]["with"])
    ],
    "filters": lambda cell, page, table: [
        ([cell["first"].weights.min(), cell["first"].weights.max()], page["conv1_range"])
    ],
    "activation-maps": lambda cell, page, table: [
        ([(layer.maps == 0).float().mean() for layer in cell["found"].layers],
         page["share_of_zeros"]),
        ([layer.dead.nonzero() for layer in cell["found"].layers], page["dead_maps"]),
    ],
    "occlusion": lambda cell, page, table: [
        pair
        for i, digit in enumerate((7, 9))
        for pair in (
            (cell["found"].table.of_label[i], page[f"digit_{digit}"]["probability"]),
            (cell["found"].table.predicted[i], page[f"digit_{digit}"]["predicted"]),
        )
    ],
    "non-targeted": lambda cell, page, table: [
        (cell["found"].steps, page["steps"]),
        (cell["found"].logits_after.softmax(dim=1).diagonal(), page["probabilities"]),
    ],
    "targeted": lambda cell, page, table: [
        ([cell["reached"][digit, pull] for digit in (7, 2) for pull in (30, 100, 300, 1000)],
         page["reached"]),
    ],
    "adding-noise": lambda cell, page, table: [
        (cell["shown"].target_rates, [page["rates"][k]["as_target"] for k in ("7", "4")]),
        (cell["shown"].error_rates, [page["rates"][k]["errors"] for k in ("7", "4")]),
    ],
}  # fmt: skip

MNIST_REPORT = {
    "batch-normalization": accuracies,
    "tables": ASSIGNMENT_2_REPORT["parameters"],
    "feature-maps": lambda cell, page, table: [
        ([(layer.maps == 0).float().mean() for layer in cell["found"].layers],
         page["share_of_zeros"]),
    ],
    "occlusion": lambda cell, page, table: [
        (cell["found"].table.of_label.amin(dim=1), page["lowest_probability"])
    ],
    "non-targeted": ASSIGNMENT_2_REPORT["non-targeted"],
    "targeted": lambda cell, page, table: [
        ([round(float(cell["distances"][float(row["b"])].mean()), 4) for row in table("pulls")],
         column(table("pulls"), "root mean squared difference")),
    ],
    "calculated-noise": lambda cell, page, table: [
        (torch.stack([cell["shown"].target_rates, cell["shown"].error_rates], dim=1),
         page["rates"]),
    ],
    "image-optimization": lambda cell, page, table: [
        ([-cell["found"].history[0], -cell["found"].history[-1]], page["cost_first_last"])
    ],
    "inner-maps": lambda cell, page, table: [(cell["found"].change, page["change"])],
    "defenses": lambda cell, page, table: [
        ([row.clean, row.transfer, row.adaptive],
         [page["accuracy"][row.defense][name] for name in ("clean", "transfer", "adaptive")])
        for row in cell["found"].rows
    ],
}  # fmt: skip

CONVOLUTIONAL_NETWORKS = {
    "one-convolution": accuracies,
    "two-convolutions": accuracies,
    "dense-layer": accuracies,
    "data": lambda cell, page, table: [
        ([len(split) for split in cell["dataset"].splits], page["images"])
    ],
    "l2": accuracies,
    "noises": lambda cell, page, table: [
        (cell["tried"].target_rates, page["rates"]),
        (cell["made"].noises.abs().max(), page["largest_change"]),
    ],
    "nine-images": lambda cell, page, table: [
        (cell["shown"].predicted, page["predicted"]),
        (cell["made"].noises.flatten(1).norm(dim=1), page["noise_norms"]),
    ],
    "logits": lambda cell, page, table: [
        (cell["found"].activations, page["reached"]),
        (cell["found"].held_out.correct, page["judged_as_intended"]),
    ],
    "neurons": lambda cell, page, table: [(cell["found"].activations, page["reached"])],
}

HOMEWORK_2 = {
    "peppers": lambda cell, page, table: [
        (cell["predicted"].probabilities, page["probabilities"]),
        (cell["predicted"].labels, page["classes"]),
    ],
    "feature-maps": lambda cell, page, table: [
        ([layer.channels[0] for layer in cell["maps"].layers], column(table("maps"), "map"))
    ],
    "transfer": lambda cell, page, table: [
        (cell["found"].mean_per_class, page["mean_per_class"]),
        (cell["found"].value, page[cell["found"].parameter]),
    ],
    "network-11x11": lambda cell, page, table: [(cell["found"].accuracy, page["test_accuracy"])],
    "batch-normalization": accuracies,
    "deeper-network": lambda cell, page, table: [
        (cell["found"].accuracy, page["test_accuracy"]),
        (cell["views"].accuracy, page["test_accuracy_views"]),
    ],
    "fooling": lambda cell, page, table: [
        (cell["fooled"].logits_after.softmax(dim=1)[:, cell["target"]], page["probabilities"])
    ],
    "transformations": lambda cell, page, table: [
        (cell["found"].plain_transformed.target_probabilities.mean(dim=1),
         page["target_probability"]),
    ],
    "adder": lambda cell, page, table: [([len(cell["pairs"]), cell["right"]], page["sums"])],
    "paper": lambda cell, page, table: [
        ([heading for heading, _, _ in cell["listing"]],
         [row["question"] for row in table("code")]),
        ([name for _, _, name in cell["listing"]], [row["function"] for row in table("code")]),
    ],
}  # fmt: skip

SNU_ASSIGNMENT_2 = {
    "by-hand": lambda cell, page, table: [
        (float(f"{check.error:.2g}"),
         next(float(f"{float(row['central differences']):.2g}") for row in table("gradients")
              if (row["layer"], row["what"]) == (check.name, check.quantity)))
        for check in cell["checks"]
    ],
    "convolution": lambda cell, page, table: [
        ([[axis.left, axis.right, axis.total, axis.output] for axis in cell["paddings"]],
         [[int(row[name]) for name in ("“same”: left", "right", "total", "output")]
          for row in table("padding")]),
        (float(f"{abs(cell['correlated'] - cell['convolved']).max():.2g}"),
         next(float(f"{float(row['one − the other']):.2g}")
              for row in table("convolution-or-cross-correlation") if row["kernel"] == "Sobel")),
    ],
    "cifar-10": lambda cell, page, table: [
        (cell["validation"], page["validation_accuracies"]),
        (list(cell["validation"]), list(page["validation_accuracies"])),
        (cell["chosen"], page["chosen"]),
        (cell["found"].accuracy, page["test_accuracy"]),
    ],
    "inception": lambda cell, page, table: [
        (cell["factor"], page["factors"]["GoogLeNet, 3a"]),
        (cell["summary"].parameters, page["parameters"]),
    ],
    "saliency": lambda cell, page, table: [
        (rounded(cell["found"].maps.amax(dim=(1, 2, 3)), 3),
         column(table("strength"), "largest saliency")),
    ],
    "class-images": lambda cell, page, table: [
        (cell["found"].logits.diagonal(), page["scores"])
    ],
    "adversarial-examples": lambda cell, page, table: [
        (cell["found"].steps, page["steps"]),
        (cell["rate"], page["rate"]),
    ],
    "notebooks": lambda cell, page, table: [
        (int((cell["known"] == cell["found"]).sum()),
         next(float(row[title]) for row in table("libraries") for title in row
              if title.startswith("same predictions") and "NumPy" in " ".join(row.values()))),
    ],
}  # fmt: skip

CELLS = {
    "assignment-2-report": ASSIGNMENT_2_REPORT,
    "mnist-report": MNIST_REPORT,
    "convolutional-networks": CONVOLUTIONAL_NETWORKS,
    "homework-2": HOMEWORK_2,
    "snu-assignment-2": SNU_ASSIGNMENT_2,
}
