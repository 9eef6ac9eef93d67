"""What each error code stands for: one sentence on the situation, one on what to do.

The text of an error says what happened in this place; the words here hold for every place that
raises the code. `convscope.error_index` finds those places; a test compares the two.
"""

from typing import NamedTuple


class Code(NamedTuple):
    """The words on a code.

    Attributes:
        situation: What kind of situation it is.
        advice: What to do about it.
    """

    situation: str
    advice: str


FAMILIES = {
    "C": "checkpoints and weight files",
    "D": "data files",
    "I": "images",
    "M": "networks",
    "T": "training runs and the system",
    "U": "usage: options, settings, arguments",
}
"""First letter of a code, and what such errors are about."""

_SAVE_AGAIN = "Save a plain state_dict again, best with safetensors.torch.save_file."
_COPY_AGAIN = "Copy or download the file again."
_DOWNLOAD = "Delete the file and get the data set again: `convscope data download NAME`."

CODES = {
    "C01": Code(
        "A weight file is a pickle that asks for more than tensors, or in a format older than "
        "torch 1.6. Loading such a file can run a program, so it is not opened.",
        _SAVE_AGAIN,
    ),
    "C02": Code(
        "The pickle inside a weight file uses instructions that no table of tensors needs.",
        _SAVE_AGAIN,
    ),
    "C03": Code(
        "The file holds a program or a whole network instead of a table of named tensors.",
        "Load it where it was made and save its state_dict().",
    ),
    "C04": Code(
        "A weight file is compressed or declares more than it holds; torch.save never writes "
        "such a file.",
        _SAVE_AGAIN,
    ),
    "C05": Code(
        "A tensor claims more numbers than its memory holds: the file is damaged or forged.",
        _COPY_AGAIN,
    ),
    "C06": Code(
        "Two tensors of the file share memory, which none of the registered networks does.",
        "Save clones of the tensors.",
    ),
    "C07": Code(
        "A file of the network is missing, empty or cut short.",
        "Copy the whole folder again, or go on with a training run that was interrupted "
        "(`convscope train --resume`).",
    ),
    "C08": Code(
        "The content of a file is not what its checksum, manifest or format says.",
        "Copy the whole folder again; nothing of the damaged file was used.",
    ),
    "C09": Code(
        "The header of a safetensors file contradicts its content, or a checkpoint lacks parts.",
        _COPY_AGAIN,
    ),
    "C10": Code(
        "The weights do not fit this network: other names, shapes or number of classes.",
        "Build the network with the settings it was trained with; for another number of classes "
        "name them with --classes.",
    ),
    "C11": Code(
        "The architecture is unknown, or no network of this name has weights.",
        "Choose a name from `convscope models list`, or give your own code as "
        "package.module:factory with --weights FILE.",
    ),
    "C12": Code(
        "Weights, configuration and class names disagree on the number of classes.",
        "Give one name per output of the network, in order: --classes FILE.",
    ),
    "C13": Code(
        "The weights hold NaN or infinity.",
        "Use an earlier checkpoint; --allow-nonfinite loads them to look at.",
    ),
    "C14": Code(
        "A tensor of the file is not of floating-point numbers, or no plain tensor.",
        "Convert quantized or sparse weights back to float32 before saving them.",
    ),
    "C15": Code(
        "A running variance of batch normalization is negative, which no training produces.",
        _COPY_AGAIN,
    ),
    "C16": Code(
        "Files of two different runs, or other settings than those the run began with, meet in "
        "one folder.",
        "Keep the files of one run; change settings only in a new folder.",
    ),
    "C17": Code(
        "A configuration, a processor's settings or a checkpoint cannot be interpreted, or comes "
        "from a newer version.",
        "Update convscope; or load the network in Python and describe it with Classifier.wrap.",
    ),
    "C18": Code(
        "The file is something other than weights: a web page, a git-LFS pointer, a device, a "
        "model of another library.",
        "Fetch the real file, or export the weights to safetensors.",
    ),
    "C19": Code(
        "A file names another one outside its own folder or archive.",
        "Keep weights and configuration side by side in one folder.",
    ),
    "C20": Code(
        "None of the checkpoints of a run can be used.",
        "Train again into another folder, or delete this one.",
    ),
    "C21": Code(
        "A graph or program is none that an image classifier needs, or uses what cannot be read.",
        "Call it in a function of your own: python:module:function.",
    ),
    "D01": Code("A data file is empty.", _DOWNLOAD),
    "D02": Code("A data file ends within its header.", _DOWNLOAD),
    "D03": Code("A data file holds less than its header declares.", _DOWNLOAD),
    "D04": Code("A data file holds more than its header declares.", _DOWNLOAD),
    "D05": Code(
        "A file does not begin as an idx file of this kind does.",
        "Check that image and label files are not exchanged, then get the data set again.",
    ),
    "D06": Code("An idx file holds numbers of another type than unsigned bytes.", _DOWNLOAD),
    "D07": Code("The header of an idx file declares an impossible number of axes.", _DOWNLOAD),
    "D08": Code("A data file declares or has more bytes than any data set of its kind.", _DOWNLOAD),
    "D09": Code(
        "Images, labels or masks do not belong together: counts or sizes differ.",
        "Take all files from the same data set.",
    ),
    "D10": Code(
        "A label is outside the range of classes, or two lists disagree about it.",
        "Check the labels; classes are numbered from 0.",
    ),
    "D11": Code(
        "A split is empty or has a single class, so that nothing can be trained or judged on it.",
        "Choose another --split, or add images.",
    ),
    "D12": Code(
        "A compressed file inflates to more than its header declares, as decompression bombs do.",
        "Delete it and get the data set again.",
    ),
    "D13": Code("An archive or compressed file is damaged or incomplete.", _DOWNLOAD),
    "D14": Code("A CIFAR-10 batch is cut, too large or without images.", _DOWNLOAD),
    "D16": Code(
        "The file belongs to CIFAR-100, another data set.",
        "Get CIFAR-10: `convscope data download cifar10`.",
    ),
    "D17": Code(
        "A pickled batch asks for something other than plain data; nothing of it was run.",
        "Do not open the file with Python. Get the data set again from its official page.",
    ),
    "D18": Code("An array in a pickled batch contradicts its own size.", _DOWNLOAD),
    "D19": Code(
        "A NumPy file was given where a folder of images is expected; such files may hold code.",
        "Save the images as PNG files, one folder per class.",
    ),
    "D20": Code(
        "An archive, list or package is unsafe or too large: entries that lead outside, links, "
        "devices.",
        "Get the archive from the data set's official page; nothing was unpacked.",
    ),
    "D21": Code(
        "A folder of images has no usable images, items that cannot be read, or labels that are "
        "ambiguous.",
        "Fix or remove what is listed, or leave it out with --skip-bad.",
    ),
    "D22": Code(
        "A folder cannot be listed, or links lead to what was taken already.",
        "Check permissions and links of that folder.",
    ),
    "D24": Code(
        "The content of the data is not the original: its checksum differs.",
        "Get the data set again, or go on with it knowingly: --accept-modified-data.",
    ),
    "D25": Code(
        "The same images are in two splits, so that scores on them would be too good.",
        "Use the official split, or remove the repeated images.",
    ),
    "D26": Code(
        "A file cannot be read or written because the system refuses.",
        "Look at disk space and connection; choose another folder with --data-dir.",
    ),
    "D27": Code(
        "A file that holds many images (an array, a shard, a table) is damaged, or not in the form "
        "that is read.",
        "See what is expected in the message; docs/data.md has the conventions.",
    ),
    "I01": Code("An image file is empty.", "Copy it again."),
    "I02": Code(
        "An image file has more bytes, or declares far more pixels, than is decoded.",
        "Make the image smaller first.",
    ),
    "I03": Code("An image has too many pixels.", "Make the image smaller first."),
    "I04": Code("An image has a side that is too long.", "Make the image smaller first."),
    "I05": Code("An image file is cut off.", "Copy it again."),
    "I06": Code("An image is damaged, or a mask holds other values than it may.", "Copy it again."),
    "I07": Code(
        "The file is not an image of a known format, whatever its name says.",
        "Convert it to PNG, JPEG, GIF, BMP or WebP.",
    ),
    "I08": Code(
        "An image file is named as one format and is another; its content decides.",
        "Nothing has to be done; rename it if you like.",
    ),
    "I10": Code(
        "A 16-bit gray image was scaled to 8 bits.",
        "Nothing has to be done if 0 to 65,535 is its full range.",
    ),
    "I11": Code(
        "The pixels are of a kind whose range is unknown.",
        "Scale the image to 8 or 16 bits per channel and save it as PNG.",
    ),
    "I12": Code(
        "Transparent pixels were laid over a plain gray level.",
        "Choose another one with background= if white is wrong.",
    ),
    "I14": Code("The image was turned as its camera data say.", "Nothing has to be done."),
    "I15": Code(
        "The camera data of an image cannot be read, so its orientation is unknown.",
        "Check whether the image is upright.",
    ),
    "I16": Code(
        "The file is animated; its first frame is used.", "Save another frame if that is meant."
    ),
    "I17": Code(
        "The image was converted between gray and color, or a number of channels was asked for "
        "that images do not have.",
        "Ask for 1 or 3 channels.",
    ),
    "I18": Code(
        "An image is much longer than wide, so that a square crop shows a small part of it.",
        'Choose fit="pad" or crop the image yourself.',
    ),
    "I19": Code(
        "Data beside the pixels, such as a color profile, were ignored.", "Nothing has to be done."
    ),
    "I21": Code(
        "None of the files that were named can be read as an image.",
        "Look at the reasons in the list and fix one of them.",
    ),
    "I22": Code(
        "The path leads to a folder, pipe or device instead of a file, or a photo has no mask.",
        "Name a regular file; keep photos and masks of a data set together.",
    ),
    "I23": Code("The file or folder may not be read.", "Check its owner and mode."),
    "I24": Code(
        "An array is not a batch of images: its type, shape or range of pixels is wrong.",
        "Give float32 of shape (batch, channel, height, width) with pixels in [0, 1].",
    ),
    "M01": Code(
        "The network returns several things, and which of them are the logits is not clear.",
        "Say which: Classifier.wrap(..., output=lambda returned: ...).",
    ),
    "M02": Code(
        "The network does not return one row of floating-point logits per image.",
        "Adapt it with Classifier.wrap(..., output=...), or put a head on it.",
    ),
    "M03": Code(
        "The network has a single output, not one per class.",
        "Make two logits of it: z becomes the pair [0, z].",
    ),
    "M09": Code(
        "The logits hold NaN or infinity, so that no class is the largest.",
        "Look at the weights and at what the network divides by.",
    ),
    "M10": Code(
        "No gradient leads from the output back to the pixels.",
        "Remove no_grad, detach, argmax or rounding, or use a gradient-free method: occlusion, "
        "rise, square.",
    ),
    "M11": Code(
        "The network returned NaN or infinity for some of the judged images.",
        "Look at the weights and at what the network divides by.",
    ),
    "M14": Code(
        "The network cannot run on images of this size, or the images have another size than it "
        "takes.",
        "Give the size it was made for: (channel, height, width).",
    ),
    "M15": Code(
        "The layer does not exist, or its output is not what the method needs.",
        "Choose a layer from `convscope models show MODEL`; maps are (channel, row, column).",
    ),
    "M17": Code(
        "A layer cannot be observed: the network is scripted, or the layer never runs.",
        "Wrap the module that was scripted, or choose a layer that runs.",
    ),
    "M18": Code(
        "Your own code that makes the network raised an error.",
        "Run it alone; --debug shows where it fails.",
    ),
    "M21": Code(
        "The classes of two sides do not match: data and network, two networks, or names and "
        "outputs.",
        "Name the classes of both sides alike, one name per logit, in order.",
    ),
    "M22": Code(
        "Something other than a network was given, or a network that does not say its images' "
        "size, or a library is missing.",
        "Return a torch.nn.Module and add --input-shape, or wrap it: Classifier.wrap(...).",
    ),
    "M23": Code(
        "The parameters of the network have no values yet: lazy layers or the meta device.",
        "Run it once on a batch of images, or load its weights.",
    ),
    "M24": Code(
        "The logits of an image depend on the other images of its batch, so that no number would "
        "be the network's own.",
        "Use running statistics in batch normalization, and sums over one image only.",
    ),
    "M25": Code(
        "The network reaches one of its parts in a way that cannot be copied.",
        "Keep every part as an attribute and use it as self.NAME.",
    ),
    "M26": Code(
        "The method needs gradients, layers or weights, and the classifier is a black box that "
        "only answers.",
        "Choose a method that needs answers only, or load the network itself.",
    ),
    "M27": Code(
        "A format, or a page, cannot hold the network, or what was written gives other logits.",
        "Choose another format: `convscope export MODEL --to safetensors`; leave --playable out.",
    ),
    "M28": Code(
        "The network is too large to be put into a page.",
        "Leave --playable out, or take a smaller network; the rest of the report does not need it.",
    ),
    "T01": Code(
        "The loss became NaN or infinite; no update was made.",
        "Lower the learning rate, clip gradients, or train in float32; nan-report.json says more.",
    ),
    "T02": Code(
        "A gradient became NaN or infinite; no update was made.",
        "Lower the learning rate, clip gradients, or train in float32; nan-report.json says more.",
    ),
    "T04": Code(
        "The system refuses to read or write: disk full, no permission, input or output error.",
        "Free some space, or choose another folder with --out.",
    ),
    "T10": Code(
        "Another process works in this run folder, or on this shard of a part.",
        "Wait until it ends, stop it, or choose another folder.",
    ),
    "T11": Code(
        "The run cannot begin here: its folder cannot be written or is not seen by all processes, "
        "or there are fewer GPUs than processes.",
        "Choose another folder with --out (on several machines, on a disk that they share), or "
        "start one process per GPU.",
    ),
    "T16": Code(
        "There is not enough memory.",
        "Use a smaller batch or fewer images at once; a run that had begun can be resumed.",
    ),
    "T19": Code(
        "A setting of the training run makes no sense with these data or processes.",
        "Take a value from the range that the message gives.",
    ),
    "T20": Code(
        "The network cannot be trained here: it has no weights, is scripted, or no single layer "
        "makes its logits and could be replaced by one for other classes.",
        "Train a torch.nn.Module that ends in one dense layer or 1x1 convolution.",
    ),
    "T21": Code(
        "The storage of a search holds another one: other settings, another space, other data.",
        "Give the same settings as before, or another --storage.",
    ),
    "T22": Code(
        "The database or file in which a search keeps its trials cannot be used.",
        "Check the URL and that the server can be reached; a file needs no server.",
    ),
    "T23": Code(
        "A part holds another job than this one: another network, other data or settings.",
        "Give each job a --part folder of its own, and the command the settings it began with.",
    ),
    "T24": Code(
        "A file of a part is damaged or missing, or of another version.",
        "Remove the file that the message names and run the command again with the same --part: "
        "it does that work anew.",
    ),
    "T25": Code(
        "Parts that are to be merged do not hold every block exactly once.",
        "Leave a part out that overlaps; let the command judge what is missing, with --part.",
    ),
    "T26": Code(
        "A process that decodes images died, did not answer, or could not be started.",
        "Look for a lack of memory; with CONVSCOPE_WORKERS=0 the process itself decodes.",
    ),
    "T27": Code(
        "The device that was asked for is not there, or not one that this torch can use.",
        "Take one that the message names, or --device auto: a GPU if there is one.",
    ),
    "T28": Code(
        "The network or the data cannot be sent to the workers of Ray.",
        "Start workers that load them by themselves: --shard I/N, torchrun or a SLURM array.",
    ),
    "T29": Code(
        "Ray could not be started or reached, has no machine large enough, or lost its workers.",
        "Check RAY_ADDRESS and --threads, or try again when the machine is less busy; finished "
        "blocks are kept.",
    ),
    "U01": Code(
        "A name, a command or an argument is unknown or missing.",
        "Take one of the names in the message, or ask for --help.",
    ),
    "U02": Code(
        "There is nothing usable at this path.",
        "Check the path; images can also be named as DATA:SPLIT/ROWS, such as mnist:test/7.",
    ),
    "U03": Code(
        "A number or a name of a file is outside what can be: a radius, a gate, an ending.",
        "Give epsilon in pixels of [0, 1], such as 8/255; see the expected range in the message.",
    ),
    "U05": Code(
        "A count or size is outside its range.",
        "Take a value from the range that the message gives.",
    ),
    "U06": Code(
        "A setting of a method has a value for which the method is not defined.",
        "Take a value from the range that the message gives.",
    ),
    "U07": Code("Images cannot be shifted by more than their own size.", "Shift by fewer pixels."),
    "U08": Code(
        "A class is missing, unknown or ambiguous.",
        "Give a class of the network by number or name; `convscope models show MODEL` lists them.",
    ),
    "U10": Code(
        "A shape or a size does not fit the images or the network.",
        "Compare the shape in the message with the one that is expected.",
    ),
    "U11": Code(
        "A setting or option does not belong here: the chosen method has none of that name, or "
        "its value is of another kind.",
        "See what is taken: `convscope COMMAND --help`, `convscope attack METHOD --help`.",
    ),
    "U12": Code(
        "A description of the network, or a seed, has a value that cannot be.",
        "Give mean and std for pixels in [0, 1], names as a list of texts, a seed from 0.",
    ),
    "U13": Code(
        "Something is there already, is in use, or is used where it is not open.",
        "Choose another --out or add --force; use a probe inside its `with` block.",
    ),
    "U14": Code(
        "An argument of a function is of a type that it does not take.",
        "Compare with the signature in the message.",
    ),
    "U15": Code("The window of a median filter has no middle.", "Give an odd number of pixels."),
    "U16": Code(
        "The standard deviation of a blur is negative or not finite.", "Give a number from 0 on."
    ),
    "U19": Code("A binary number holds something else than 0 and 1.", "Write only 0 and 1."),
    "U20": Code(
        "A request to the page of `convscope serve` has no token, or comes from another page.",
        "Open the address that `convscope serve` prints, with its token.",
    ),
    "U21": Code(
        "What was sent to the page of `convscope serve` is too large, or is not in its form.",
        "Send one image file of at most the size in the message.",
    ),
    "U22": Code(
        "Work on the page of `convscope serve` was canceled, or a newer request took its place.",
        "Nothing has to be done; ask again for what is still wanted.",
    ),
}
"""Every code of the source; `convscope.error_index.error_index` adds where it is raised."""
