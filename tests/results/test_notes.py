from dds.results import notes


def entry(key, share=0.0, straight_through=False):
    value = {"value": share, "low": share, "high": share}
    return {"key": key, "straight_through": straight_through, "metrics": {"broken_gradient": value}}


def test_sound_attacks_need_no_note():
    clean = {"key": "clean/-/t0", "straight_through": False, "metrics": {}}
    assert notes({"images": 8, "conditions": [clean, entry("pgd/same/t10")]}) == []


def test_says_in_which_precision_attacks_looked():
    summary = {"images": 8, "conditions": [], "attack_precision": "bf16-mixed"}
    assert notes(summary) == [
        "attacks looked at the networks in bf16-mixed, which rounds gradients; they may be too weak"
    ]
    assert notes(summary | {"attack_precision": "32-true"}) == []


def test_says_where_the_gradient_was_straight_through_and_how_many_images_had_a_broken_one():
    conditions = [entry("pgd/same/jpeg", straight_through=True), entry("pgd/same/t10", share=0.375)]
    straight, broken = notes({"images": 8, "conditions": conditions})
    assert straight.startswith("straight-through gradients")
    assert straight.endswith("pgd/same/jpeg")
    assert broken.endswith("pgd/same/t10 (3 images)")


def test_long_lists_are_cut():
    conditions = [entry(f"pgd/same/t{t}", share=1.0) for t in range(1, 12)]
    (broken,) = notes({"images": 2, "conditions": conditions})
    assert broken.endswith("pgd/same/t8 (2 images) and 3 more")
