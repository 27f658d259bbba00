"""The loop over images, transforms and views.

Its words:

* **sampling**: says which of a transform's parameters are measured in which row;
* **row**: one draw of a sampling: an image, and the parameters that it is seen with; rows are numbered, and which image
  a row looks at is the plan's business;
* **item**: what a row looks at, by its place among the images that were chosen to measure on;
* **chunk**: rows of some transforms that are measured, and kept, at a time;
* **partial result**: what a chunk gave: the states of the metrics on its rows;
* **layer**: a named slice of a backbone's features, measured as if it were a backbone of its own.

From the ground up: ``whitened`` is a backbone ready to be measured, ``plan`` what is measured on what, ``chunk``
measures a piece of a plan, ``transform_run`` all of it, ``groups`` does the same for groups of views, and ``summary``
makes numbers of what they gave.
"""
