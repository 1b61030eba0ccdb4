"""The loop: cuts that leave no trace, seeds that count, members that stop for themselves, trouble that is told."""

from __future__ import annotations

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import agents, envs, networks, train
from rljax.structs import Algorithm


def walk(drift: Any = 1.0, poison_at: int = -1) -> Algorithm:
    """A scripted algorithm: its only parameter grows by `drift` plus a little noise; it is its own score."""

    def step(key: jax.Array, state: dict[str, jax.Array]) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        x = state["x"] + drift + 1e-3 * jax.random.normal(key)
        x = jnp.where(state["t"] == poison_at, jnp.nan, x)
        return {"x": x, "t": state["t"] + 1}, {"x_now": x, "always": jnp.float32(1)}

    return Algorithm(
        init=lambda key: {"x": jax.random.uniform(key), "t": jnp.int32(0)},
        step=step,
        parameters=lambda state: state["x"],
        act=lambda params, key, observation: jnp.int32(0),
        score=lambda key, params: params,
    )


def keys(number: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), number)


def small_reinforce(**options: Any) -> Algorithm:
    return agents.reinforce(envs.CartPole(), networks.chapter_policy(), max_steps=20, episodes_per_update=4, **options)


def bits(tree: Any) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


@functools.cache
def trained(chunk: int, seeds: tuple[int, ...] = (0, 1, 2, 3)) -> train.Result:
    return train.train(small_reinforce(), keys(8)[jnp.array(seeds)], 10, eval_every=2, chunk=chunk, score=True)


@pytest.mark.usefixtures("standard_promotion")
def test_chunk_size_never_changes_a_bit(optimised) -> None:
    """Nor does another run: each is a program of its own. Five rounds are cut into two, two and one."""
    whole, cut = trained(100), trained(2)
    assert bits(whole.members) == bits(cut.members)
    assert bits(whole.metrics) == bits(cut.metrics)
    assert bits(whole.scores) == bits(cut.scores)


@pytest.mark.usefixtures("standard_promotion")
def test_different_keys_different_weights_and_curves() -> None:
    result = trained(100)
    weights = [bits(jax.tree.map(lambda leaf, i=i: leaf[i], result.parameters)) for i in range(4)]
    curves = [result.metrics["loss"][:, i].tobytes() for i in range(4)]
    assert len({tuple(w) for w in weights}) == len(set(curves)) == 4


@pytest.mark.usefixtures("standard_promotion")
def test_a_member_is_the_same_in_any_chunk_of_seeds_of_that_size(optimised) -> None:
    ahead, behind = trained(100), trained(100, (7, 2, 5, 0))
    for here, there in ((2, 1), (0, 3)):
        assert bits(jax.tree.map(lambda leaf, i=here: leaf[i], ahead.members)) == bits(
            jax.tree.map(lambda leaf, i=there: leaf[i], behind.members)
        )


def test_members_stop_on_target_and_freeze_while_others_go_on() -> None:
    result = train.train(
        walk,
        keys(3),
        40,
        settings={"drift": np.float32([1, 2, 0.1])},
        eval_every=2,
        target=10.0,
        patience=2,
        keep_state=True,
    )
    steps = np.asarray(result.members.steps)
    # The first score >= 10 comes after 10 and 6 steps (x starts in [0, 1)); patience asks for one round more.
    assert steps.tolist() == [12, 8, 40]
    assert np.asarray(result.members.stopped).tolist() == [True, True, False]
    for member, taken in enumerate(steps):
        assert np.isfinite(result.metrics["x_now"][:taken, member]).all()
        assert np.isnan(result.metrics["x_now"][taken:, member]).all()
        np.testing.assert_allclose(result.members.state["x"][member], result.metrics["x_now"][taken - 1, member])


def test_the_loop_ends_when_all_have_stopped() -> None:
    result = train.train(walk(), keys(2), 1000, eval_every=5, target=10.0, chunk=3)
    assert len(result.metrics["x_now"]) == 10
    assert result.scores.shape == (2, 2)


def test_no_progress_stops_and_the_best_parameters_are_kept() -> None:
    result = train.train(walk(-1.0), keys(2), 100, eval_every=5, give_up=3, keep_state=True)
    assert np.asarray(result.members.steps).tolist() == [20, 20]  # the first score is the best; three more are not
    np.testing.assert_array_equal(result.parameters, result.scores[0])
    np.testing.assert_array_equal(result.members.best_score, result.scores.max(axis=0))
    assert (np.asarray(result.members.state["x"]) < np.asarray(result.parameters)).all()


def test_without_scores_the_last_parameters_are_kept() -> None:
    result = train.train(walk(), keys(2), 7, keep_state=True)
    np.testing.assert_array_equal(result.parameters, result.members.state["x"])
    assert np.isnan(result.scores).all()


def test_scores_have_their_own_key_stream() -> None:
    """Scoring must not change what is learned."""
    scored, plain = (
        train.train(walk(), keys(3), 10, eval_every=5, score=score, keep_state=True) for score in (True, False)
    )
    assert bits(scored.members.state) == bits(plain.members.state)


def test_the_state_leaves_the_loop_only_if_asked_for() -> None:
    """It may hold a replay buffer, and then a frozen copy of it would be made in every round."""
    kept, dropped = (
        train.train(walk(), keys(3), 20, eval_every=2, target=5.0, keep_state=keep) for keep in (True, False)
    )
    assert dropped.members.state == ()
    assert bits(kept.members._replace(state=())) == bits(dropped.members)


def test_not_finite_stops_the_run_names_step_and_quantity_and_keeps_the_last_finite_parameters() -> None:
    make = lambda poison: walk(1.0, poison)
    with pytest.raises(
        train.Diverged, match=r"x_now ceased to be finite, or credible, in step 14 of member 1 \(1 of 2"
    ) as caught:
        train.train(make, keys(2), 100, settings={"poison": np.int32([-1, 13])}, eval_every=10, chunk=1)
    result = caught.value.result
    assert len(result.metrics["x_now"]) == 20, "the run stops at the chunk where it appears"
    np.testing.assert_array_equal(result.parameters[1], result.metrics["x_now"][12, 1])
    assert np.isfinite(result.parameters).all()


def test_not_finite_parameters_never_replace_scored_ones() -> None:
    with pytest.raises(train.Diverged) as caught:
        train.train(walk(1.0, 7), keys(2), 20, eval_every=5, score=True)
    assert np.isfinite(caught.value.result.parameters).all()


@pytest.mark.usefixtures("standard_promotion")
def test_a_sweep_over_learning_rate_and_gamma_compiles_once() -> None:
    traces = []

    def make(learning_rate: Any, gamma: Any) -> Algorithm:
        if isinstance(learning_rate, jax.core.Tracer):
            traces.append(learning_rate)
        return small_reinforce(learning_rate=learning_rate, gamma=gamma)

    settings = {"learning_rate": np.float32([0.001, 0.01, 0.1, 0.01]), "gamma": np.float32([0.9, 0.9, 0.99, 0.0])}
    result = train.train(make, jnp.stack([jax.random.key(0)] * 4), 20, settings=settings, chunk=1)
    assert len(traces) == 2, "one trace to begin, one to advance; four settings, two chunks"
    assert len({result.metrics["loss"][:, i].tobytes() for i in range(4)}) == 4
    alone = train.train(make, jax.random.key(0)[None], 20, settings=jax.tree.map(lambda x: x[2:3], settings))
    np.testing.assert_allclose(result.metrics["mean_length"][0, 2], alone.metrics["mean_length"][0, 0])


def test_advance_is_pure_and_composes_with_jit_vmap_and_scan(optimised) -> None:
    plan = train.Plan(eval_every=2, keep_state=True)
    members = jax.vmap(lambda key: train.begin(walk(), key))(keys(3))

    @jax.jit
    @chex.assert_max_traces(n=1)
    def rounds(keys: jax.Array, members: train.Member) -> train.Member:
        one = jax.vmap(lambda key, member: train.advance(walk(), key, member, plan)[0])
        return jax.lax.scan(lambda m, _: (one(keys, m), None), members, None, 3)[0]

    result = train.train(walk(), keys(3), 6, eval_every=2, keep_state=True)
    chex.assert_trees_all_equal(rounds(keys(3), members).state, result.members.state)
    rounds(keys(3, seed=1), members)


def test_progress_is_shown_after_every_chunk() -> None:
    seen: list[train.Progress] = []
    train.train(walk(), keys(2), 12, eval_every=2, chunk=2, on_chunk=seen.append)
    assert [p.steps for p in seen] == [4, 8, 12]
    assert all(p.metrics["x_now"].shape == (4, 2) and p.running == 2 for p in seen)
    assert seen[-1].run_seconds >= seen[0].run_seconds > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0"),
        ({"num_steps": 7, "eval_every": 2}, "Take 6 steps"),
        ({"chunk": 0}, "chunk is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"target": 1.0, "score": False}, "need scores"),
        ({"settings": {"drift": np.zeros(3)}}, r"settings\['drift'\] has shape \(3,\)"),
        ({"keys": jax.random.key(0)}, r"keys of shape \(B,\)"),
        ({"keys": keys(2)[:0]}, r"keys of shape \(B,\), at least one"),
        ({"settings": {"drift": [1.0, np.nan]}}, r"settings\['drift'\]\[1\] is nan"),
        ({"target": float("nan")}, r"target is nan; expected a number in \(-inf, inf\)"),
        ({"target": float("inf")}, "target is inf"),
        ({"patience": 3}, "patience is 3; expected a target beside it"),
        ({"target": 1.0, "patience": 2**40}, r"patience is .* below 2\*\*31"),
        ({"give_up": 2**40}, r"give_up is .* below 2\*\*31"),
        ({"num_steps": 2**40}, r"num_steps is .* below 2\*\*31"),
        ({"target": 1.0, "score": np.False_}, "need scores"),
    ],
)
def test_bad_input_is_refused_before_any_work(wrong: dict[str, Any], message: str) -> None:
    def never(**_: Any) -> Algorithm:
        raise AssertionError("work was begun")

    with pytest.raises(ValueError, match=message):
        train.train(never, **{"keys": keys(2), "num_steps": 10, **wrong})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"keys": jax.random.PRNGKey(0)}, "typed kind"),
        ({"keys": [jax.random.key(0), jax.random.key(1)]}, "typed kind"),
        ({"settings": {"drift": ["1", "2"]}}, r"settings\['drift'\] is array.*; expected a number"),
        ({"on_chunk": 3}, "on_chunk is 3; expected a function"),
        ({"settings": [0.1, 0.2]}, r"settings is \[0.1, 0.2\]; expected numbers by name"),
        ({"target": "195"}, "target is '195'; expected a number"),
        ({"target": np.ones(2)}, r"target is array.*; expected a number"),
        ({"score": 0}, "score is 0; expected True or False"),
        ({"algorithm": None}, "algorithm is None; expected a function such as .*, or an Algorithm"),
        ({"algorithm": lambda: None}, "the maker returned None; expected an Algorithm"),
        (
            {"algorithm": walk(), "settings": {"drift": [1, 2]}},
            r"drift, and an Algorithm, which is made .* lambda drift:",
        ),
    ],
)
def test_what_is_of_another_kind_is_refused_before_any_work(wrong: dict[str, Any], message: str) -> None:
    def never(**_: Any) -> Algorithm:
        raise AssertionError("work was begun")

    with pytest.raises(TypeError, match=message):
        train.train(**{"algorithm": never, "keys": keys(2), "num_steps": 10, **wrong})


def test_raw_keys_begin_nothing() -> None:
    with pytest.raises(TypeError, match="typed kind"):
        train.begin(walk(), jax.random.PRNGKey(0))


def test_settings_are_taken_as_lists_and_checked_by_the_maker_once_for_each_different_row() -> None:
    made = []

    def make(drift: Any) -> Algorithm:
        if isinstance(drift, jax.core.Tracer):
            return walk(drift)
        made.append(float(drift))
        if drift < 0:
            raise ValueError(f"drift is {drift}")
        return walk(drift)

    result = train.train(make, keys(4), 2, settings={"drift": [1.0, 2.0, 1.0, 3.0]})
    assert made == [1, 2, 3]
    np.testing.assert_allclose(np.diff(result.metrics["x_now"], axis=0)[0], [1, 2, 1, 3], atol=0.01)
    with pytest.raises(ValueError, match=r"drift is -1\.0"):
        train.train(make, keys(2), 2, settings={"drift": [1.0, -1.0]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": [0.95, 1.5]}, r"gamma is 1\.5; expected a number in \[0, 1\]"),
        ({"learning_rate": [0.01, 0.0]}, r"learning_rate is 0; expected a number in \(0, inf\)"),
    ],
)
def test_what_the_maker_refuses_is_refused_in_a_sweep_too(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train.train(small_reinforce, keys(2), 2, settings=settings)
    with pytest.raises(TypeError, match="unexpected keyword"):
        train.train(small_reinforce, keys(2), 2, settings={"learnig_rate": [0.1, 0.2]})


def test_a_score_that_is_no_number_is_a_fault() -> None:
    """It reaches no target and is never the best: the run would go on to its end and keep the first parameters."""
    algorithm = walk()._replace(score=lambda key, x: jnp.where(x > 5, jnp.nan, x))
    with pytest.raises(
        train.Diverged, match=r"score ceased to be finite, or credible, in step 6 of member \d \(2 of 2"
    ) as caught:
        train.train(algorithm, keys(2), 40, eval_every=2, score=True, chunk=1)
    np.testing.assert_array_equal(caught.value.result.parameters, caught.value.result.scores[-2])


def test_what_follows_a_fault_in_its_round_is_no_result() -> None:
    with pytest.raises(train.Diverged) as caught:
        train.train(walk(1.0, 3)._replace(score=lambda key, x: x), keys(2), 10, eval_every=10)
    result = caught.value.result
    assert np.asarray(result.members.steps).tolist() == [3, 3]
    assert np.isfinite(result.metrics["always"][:4]).all() and np.isnan(result.metrics["always"][4:]).all()


def test_the_loop_runs_in_float64() -> None:
    with jax.enable_x64(True):
        result = train.train(walk()._replace(score=lambda key, x: x), keys(2), 6, eval_every=3, target=4.0)
        assert result.scores.dtype == np.float64 and (result.members.steps == 6).all()


def test_nothing_to_learn_is_finite() -> None:
    """A planner or a probe may have no parameters."""
    result = train.train(
        walk()._replace(parameters=lambda state: (), score=lambda key, params: jnp.zeros(())), keys(2), 4
    )
    assert result.parameters == () and np.asarray(result.members.steps).tolist() == [4, 4]


def test_a_metric_that_is_no_scalar_is_refused() -> None:
    def step(key: jax.Array, state: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        del key
        return state, {"three": jnp.zeros(3)}

    with pytest.raises(ValueError, match=r"the metric 'three' has shape \(3,\); expected \(\)"):
        train.train(walk()._replace(step=step), keys(2), 4)
