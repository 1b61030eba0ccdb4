"""Markov decision processes in tables: the model, Bellman's operators, planners with proven error bounds, problems, chains."""

from rljax.mdp.model import TabularMDP as TabularMDP
from rljax.mdp.transitions import Dense as Dense
from rljax.mdp.transitions import Generated as Generated
from rljax.mdp.transitions import Sparse as Sparse
