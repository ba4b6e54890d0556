import pytest

from dds.attacks import PGD
from dds.attacks.objectives import Calls
from dds.models.schedule import NoiseLevel
from dds.protocol import Plan, list_conditions

T10, T50 = NoiseLevel(10, 0.02), NoiseLevel(50, 0.09)


def keys(conditions):
    return [condition.key for condition in conditions]


def test_conditions_have_readable_keys():
    assert keys(list_conditions(["pgd"], ["none", "same", T50], [T10, T50], draws=3)) == [
        "clean/-/t0", "clean/-/t10", "clean/-/t50",
        "pgd/none/t0", "pgd/none/t10", "pgd/none/t50",
        "pgd/same/t10", "pgd/same/t50",
        "pgd/t50/t0", "pgd/t50/t10", "pgd/t50/t50",
    ]  # fmt: skip


def test_only_purified_views_are_drawn_repeatedly():
    conditions = list_conditions([], [], [T10], draws=3)
    assert [condition.draws for condition in conditions] == [1, 3]


def test_same_without_none_still_attacks_the_undefended_task():
    assert "pgd/none/t0" in keys(list_conditions(["pgd"], ["same"], [T10], draws=1))


def test_the_image_attacked_without_purifier_serves_all_levels():
    plan = Plan.of(list_conditions(["pgd"], ["none"], [T10, T50], draws=1))
    assert [(craft.attack, craft.through) for craft in plan.crafts] == [("clean", None), ("pgd", None)]
    assert list(plan.crafts[1].shows) == [None, T10, T50]


def test_conditions_that_are_one_by_definition_share_the_view():
    plan = Plan.of(list_conditions(["pgd"], ["same", T50], [T10, T50], draws=1))
    shared = [keys(group) for craft in plan.crafts for group in craft.shows.values() if len(group) > 1]
    assert shared == [["pgd/same/t50", "pgd/t50/t50"]]


@pytest.mark.parametrize("draws", [1, 3])
def test_cost_counts_network_calls(draws):
    attack = PGD(steps=5, eot=2)
    plan = Plan.of(list_conditions(["pgd"], ["none", "same"], [T10, T50], draws))
    cost = plan.cost({"pgd": attack}, purifier_calls=1)
    crafted = 10 * 3  # bare, through t10, through t50
    shown = 2 * (1 + 2 * draws) + 2 * draws
    assert cost.task == Calls(crafted + shown, crafted)
    assert cost.purifier == Calls(10 * 2 + 3 * 2 * draws, 10 * 2)
