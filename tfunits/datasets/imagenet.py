"""ImageNet's photographs (ILSVRC 2012), decoded as they are read."""

import pathlib

import numpy as np

from tfunits.configs import DataConfig, find_dataset
from tfunits.datasets import photographs
from tfunits.datasets.dataset import Dataset
from tfunits.datasets.records import RecordSplit, open_records
from tfunits.datasets.splits import divide


def load(config: DataConfig, folder: pathlib.Path) -> Dataset:
    """Photographs in 1,000 classes; the published validation images are the test set, since no other has labels.

    Where only these were prepared, the data set has no other split.

    Args:
      config: which examples, in which form.
      folder: as tensorflow-datasets prepares it.

    Raises:
      UserError: files of another kind, or more examples asked for than there are.
    """
    num_classes = find_dataset(config.dataset).num_classes
    records = open_records(folder, num_classes, splits=("validation",))
    splits = {}
    if "train" in records:
        pool = records["train"]
        index = divide(config, len(pool), pool.draw_order(config.data_seed))
        splits = {name: RecordSplit(records=pool, members=members) for name, members in index.items() if len(members)}
    test = records["validation"]
    return Dataset(
        name=config.dataset,
        num_classes=num_classes,
        splits={**splits, "test": RecordSplit(records=test, members=np.arange(len(test)))},
        preprocessing=photographs.FORMS[config.preprocessing or "image224"],
    )
