"""The one loop that runs every `Algorithm`, and sweeps of many runs through one program."""

from rljax.train.loop import Member as Member
from rljax.train.loop import Plan as Plan
from rljax.train.loop import advance as advance
from rljax.train.loop import begin as begin
from rljax.train.running import Diverged as Diverged
from rljax.train.running import Progress as Progress
from rljax.train.running import Result as Result
from rljax.train.running import train as train
from rljax.train.sweeps import Sweep as Sweep
from rljax.train.sweeps import grid as grid
from rljax.train.sweeps import sample as sample
from rljax.train.sweeps import sweep as sweep
