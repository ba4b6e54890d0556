import json

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
)

from dds.errors import InputError
from dds.models.diffusion.schedule import NoiseSchedule

# Carlini et al.'s rule and the table of sigmas, as given in the method notes
SIGMA_TO_T = {0.0625: 35, 0.12: 70, 0.125: 73, 0.25: 145, 0.5: 259, 0.75: 339, 1.0: 396}
T_TO_SIGMA = {
    10: 0.0234,
    20: 0.0397,
    50: 0.0880,
    100: 0.1711,
    145: 0.2516,
    200: 0.3618,
    300: 0.6201,
    396: 1.0002,
}


@pytest.mark.parametrize(("sigma", "t"), SIGMA_TO_T.items())
def test_sigma_to_t(sigma, t):
    assert NoiseSchedule.from_config().nearest(sigma).t == t


@pytest.mark.parametrize(("t", "sigma"), T_TO_SIGMA.items())
def test_t_to_sigma(t, sigma):
    assert NoiseSchedule.from_config().at(t).sigma == pytest.approx(sigma, abs=5e-5)


def test_schedule_equals_the_formula():
    alphas_cumprod = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    assert np.allclose(NoiseSchedule.from_config().alphas_cumprod.numpy(), alphas_cumprod, rtol=1e-5)


def test_another_schedule_has_other_levels():
    config = {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 500}
    schedule = NoiseSchedule.from_config(config)
    assert len(schedule) == 500
    assert schedule.nearest(0.25).t != 145


@pytest.mark.parametrize("t", [0, 1, 10, 500, 999])
def test_a_levels_own_sigma_leads_back_to_it(t):
    schedule = NoiseSchedule.from_config()
    assert schedule.nearest(schedule.at(t).sigma).t == max(t, 1)


@pytest.mark.parametrize(
    "given", [-1, 1000, {"sigma": 0}, {"sigma": -0.1}, {"sigma": 1e9}, {"t": 3}, {"sigma": float("nan")}]
)
def test_levels_that_do_not_exist(given):
    with pytest.raises(InputError, match="noise level"):
        NoiseSchedule.from_config().level(given)


@pytest.mark.parametrize("kind", [DDPMScheduler, DDIMScheduler, PNDMScheduler, DPMSolverMultistepScheduler])
@pytest.mark.parametrize("beta_schedule", ["linear", "squaredcos_cap_v2", "scaled_linear"])
def test_saved_configuration_of_any_scheduler_with_betas(kind, beta_schedule):
    scheduler = kind(beta_schedule=beta_schedule, beta_end=0.015, num_train_timesteps=200)
    schedule = NoiseSchedule.from_config(json.loads(scheduler.to_json_string()))
    assert torch.allclose(schedule.alphas_cumprod.float(), scheduler.alphas_cumprod, rtol=1e-3, atol=1e-7)


def test_defaults_of_another_scheduler_are_its_own():
    scheduler = HeunDiscreteScheduler()
    assert scheduler.config.beta_end != DDPMScheduler().config.beta_end
    schedule = NoiseSchedule.from_config(json.loads(scheduler.to_json_string()))
    assert torch.allclose(schedule.alphas_cumprod.float(), scheduler.alphas_cumprod, rtol=1e-4)


def test_zero_terminal_snr_has_an_infinite_last_sigma():
    schedule = NoiseSchedule.from_config(
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "beta_schedule": "scaled_linear"}
    )
    assert schedule.at(999).sigma == float("inf")
    assert schedule.sigmas[:999].isfinite().all()
    assert schedule.nearest(1e9).t == 999
    assert schedule.nearest(schedule.at(500).sigma).t == 500


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"beta_shedule": "linear"}, "no argument beta_shedule"),
        ({"beta_schedule": "cosine"}, "cosine"),
        ({"prediction_type": "flow"}, "prediction_type is 'flow'; expected one of epsilon"),
        (
            {"_class_name": "EDMEulerScheduler", "prediction_type": "epsilon"},
            "EDMEulerScheduler knows no betas",
        ),
    ],
)
def test_schedules_that_are_none(config, words):
    with pytest.raises(InputError, match=words):
        NoiseSchedule.from_config(config)
