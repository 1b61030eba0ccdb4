"""rljax environments for everybody who speaks Gymnasium: one environment, many in one compiled step, or pure functions.

    RljaxEnv(CartPole())                                        a `gymnasium.Env`
    RljaxVectorEnv(TimeLimit(CartPole(), 500), num_envs=1024)   a `gymnasium.vector.VectorEnv`
    RljaxFuncEnv(CartPole())                                    a `gymnasium.experimental.functional.FuncEnv`

Importing this module registers the worlds listed in `worlds`. Gymnasium imports it by itself when an id names it:

    gymnasium.make("rljax.envs.gymnasium:rljax/CartPole-v1")    or, once imported,    gymnasium.make("rljax/CartPole-v1")
"""

from rljax.envs.gymnasium import worlds
from rljax.envs.gymnasium.functional import RljaxFuncEnv as RljaxFuncEnv
from rljax.envs.gymnasium.functional import RljaxFuncState as RljaxFuncState
from rljax.envs.gymnasium.single import RljaxEnv as RljaxEnv
from rljax.envs.gymnasium.vector import RljaxVectorEnv as RljaxVectorEnv

worlds.register()
