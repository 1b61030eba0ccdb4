"""The same learners in environments that run on the host: any of Gymnasium's."""

from rljax.host.playing import episodes as episodes
from rljax.host.training import Broken as Broken
from rljax.host.training import first as first
from rljax.host.training import task as task
from rljax.host.training import train as train
