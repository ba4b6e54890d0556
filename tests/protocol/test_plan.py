import pytest

from dds.attacks import PGD
from dds.attacks.objectives.base import Calls
from dds.models.diffusion.schedule import NoiseLevel
from dds.protocol import NOTHING, Defence, Plan, Sight, list_conditions
from dds.protocol.plan import craft_cost

T10, T50 = Defence("t10", NoiseLevel(10, 0.02)), Defence("t50", NoiseLevel(50, 0.09))
JPEG = Defence("jpeg", None, random=False)
SAME, FIXED = Sight("same"), Sight("fixed_noise")
SEES_T50 = Sight("t50", (T50,))


def one_call(defence, purifications):
    return purifications * (defence is not None)


def keys(conditions):
    return [condition.key for condition in conditions]


def test_conditions_have_readable_keys():
    assert keys(list_conditions(["pgd"], [NOTHING, SAME, SEES_T50], [T10, T50], draws=3)) == [
        "clean/-/t0", "clean/-/t10", "clean/-/t50",
        "pgd/none/t0", "pgd/none/t10", "pgd/none/t50",
        "pgd/same/t10", "pgd/same/t50",
        "pgd/t50/t0", "pgd/t50/t10", "pgd/t50/t50",
    ]  # fmt: skip


def test_only_purified_views_are_drawn_repeatedly():
    conditions = list_conditions([], [], [T10], draws=3)
    assert [condition.draws for condition in conditions] == [1, 3]


def test_same_without_none_still_attacks_the_undefended_task():
    assert "pgd/none/t0" in keys(list_conditions(["pgd"], [SAME], [T10], draws=1))


def test_the_image_attacked_without_purifier_serves_all_levels():
    plan = Plan.of(list_conditions(["pgd"], [NOTHING], [T10, T50], draws=1))
    assert [(craft.attack, craft.through) for craft in plan.crafts] == [("clean", ()), ("pgd", ())]
    assert [shown.defence for shown in plan.crafts[1].shows] == [None, T10, T50]


def test_conditions_that_are_one_by_definition_share_the_view():
    plan = Plan.of(list_conditions(["pgd"], [SAME, SEES_T50], [T10, T50], draws=1))
    shared = [keys(group) for craft in plan.crafts for group in craft.shows.values() if len(group) > 1]
    assert shared == [["pgd/same/t50", "pgd/t50/t50"]]


@pytest.mark.parametrize("draws", [1, 3])
def test_cost_counts_network_calls(draws):
    attack = PGD(steps=5, eot=2)
    plan = Plan.of(list_conditions(["pgd"], [NOTHING, SAME], [T10, T50], draws))
    cost = plan.cost({"pgd": attack}, purifier_calls=one_call)
    crafted = 5 + 10 * 2  # bare, where eot draws would be the same; through t10, through t50
    shown = 2 * (1 + 2 * draws) + 2 * draws
    assert cost.task == Calls(crafted + shown, crafted)
    assert cost.purifier == Calls(10 * 2 + 3 * 2 * draws, 10 * 2)


def test_defences_that_draw_nothing_are_shown_once():
    conditions = list_conditions(["pgd"], [FIXED], [T10, JPEG], draws=3)
    assert [condition.draws for condition in conditions if condition.defence == JPEG] == [1, 1]
    assert {
        condition.key: condition.fixed_noise for condition in conditions if condition.attack == "pgd"
    } == {
        "pgd/none/t0": False,
        "pgd/fixed_noise/t10": True,
        "pgd/fixed_noise/jpeg": False,
    }


def test_controls_stand_beside_the_clean_images():
    conditions = list_conditions([], [], [T10], draws=3, controls=["dark"])
    assert keys(conditions) == ["clean/-/t0", "clean/-/t10", "dark/-/t0", "dark/-/t10"]
    assert Plan.of(conditions).cost({}, one_call).task == Calls(2 * (1 + 3))


def test_known_noise_costs_an_attack_for_each_draw_and_an_average_one_for_each_level():
    attack = PGD(steps=5)
    known = Plan.of(list_conditions(["pgd"], [FIXED], [T10], draws=3)).cost({"pgd": attack}, one_call)
    assert known.task == Calls(5 + 2 + 3 * 5 + 3 + 3, 5 + 3 * 5)  # bare, shown bare twice, crafted, shown
    both = [Sight("t10+t50", (T10, T50))]
    average = Plan.of(list_conditions(["pgd"], both, [T10], draws=3)).cost({"pgd": attack}, one_call)
    assert average.task == Calls(2 * 5 + 2 + 2 * 3, 2 * 5)


def test_noise_is_drawn_once_where_all_draws_are_the_same():
    attack = PGD(steps=5, eot=4)
    plan = Plan.of(list_conditions(["pgd"], [NOTHING, SAME, FIXED], [T10, JPEG], draws=2))
    backward = {
        (craft.through, craft.fixed_noise): craft_cost(craft, {"pgd": attack}, one_call).task.backward
        for craft in plan.crafts
        if craft.attack == "pgd"
    }
    assert backward == {((), False): 5, ((T10,), False): 20, ((JPEG,), False): 5, ((T10,), True): 2 * 5}
    assert attack.eot == 4
