"""Running a foreign network: its private copy, the path it runs on, its layers and their axes.

`convscope.probe` and `convscope.classifier` stand on these modules; methods use those two.
"""
