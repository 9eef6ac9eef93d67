"""Running a foreign network: its private copy, the path it runs on, its layers and their axes.

`convscope.probe` and `convscope.classifier` stand on these modules. Methods run networks through
those two only; names of layers, costs and copies they import from here.
"""
