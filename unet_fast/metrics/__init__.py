"""How good a segmentation is: `em` for membranes (ISBI 2012), `ctc` for cells (Cell Tracking Challenge)."""
