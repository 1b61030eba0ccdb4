"""Targets and errors of one transition: what a single step of experience says about a value.

    target = r_t + discount_t (what is thought to follow)            error = target - estimate_{t-1}

`r_t, discount_t` and everything else with `_t` belong to the arrival; `_tm1` to the source. Termination is
`discount_t = 0`: what is thought to follow has no say then. Action values are [A] of one state; `mask_t` [A] is True where
an action is available on arrival, and what stands at the others has no effect; where none is available, nothing follows: 0.
Targets carry gradients; errors stop the one through their target, so that gradients of losses made of them are semi-gradients.
Every function is for one transition: batches are the caller's `vmap`.
"""

from rljax.backups.sample import count_bonus_error as count_bonus_error
from rljax.backups.sample import count_bonus_target as count_bonus_target
from rljax.backups.sample import double_q_learning_error as double_q_learning_error
from rljax.backups.sample import double_q_learning_target as double_q_learning_target
from rljax.backups.sample import expected_sarsa_error as expected_sarsa_error
from rljax.backups.sample import expected_sarsa_target as expected_sarsa_target
from rljax.backups.sample import q_learning_error as q_learning_error
from rljax.backups.sample import q_learning_target as q_learning_target
from rljax.backups.sample import sarsa_error as sarsa_error
from rljax.backups.sample import sarsa_target as sarsa_target
from rljax.backups.sample import td_error as td_error
from rljax.backups.sample import td_target as td_target
from rljax.backups.sample import with_count_bonus as with_count_bonus
from rljax.backups.soft import mellowmax_error as mellowmax_error
from rljax.backups.soft import mellowmax_target as mellowmax_target
from rljax.backups.soft import munchausen_error as munchausen_error
from rljax.backups.soft import munchausen_target as munchausen_target
from rljax.backups.soft import soft_q_error as soft_q_error
from rljax.backups.soft import soft_q_target as soft_q_target
