"""For an objective or a sampler: views, batches, and the parts that self-supervised methods share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtssl.api.table import lazy_names

if TYPE_CHECKING:
    from dbtssl.interfaces import Batch as Batch
    from dbtssl.interfaces import Crop as Crop
    from dbtssl.interfaces import ExcludedKeys as ExcludedKeys
    from dbtssl.interfaces import FreezesParameters as FreezesParameters
    from dbtssl.interfaces import HasHead as HasHead
    from dbtssl.interfaces import HasPartner as HasPartner
    from dbtssl.interfaces import HasPlace as HasPlace
    from dbtssl.interfaces import Objective as Objective
    from dbtssl.interfaces import Photometry as Photometry
    from dbtssl.interfaces import ReportsCollapse as ReportsCollapse
    from dbtssl.interfaces import Sampler as Sampler
    from dbtssl.interfaces import Step as Step
    from dbtssl.interfaces import ViewSpec as ViewSpec
    from dbtssl.methods.moco_settings import DBT_VIEWS as DBT_VIEWS
    from dbtssl.methods.moco_settings import MOCO_AS_RELEASED as MOCO_AS_RELEASED
    from dbtssl.methods.moco_settings import MOCO_PUBLISHED as MOCO_PUBLISHED
    from dbtssl.methods.moco_settings import MOCO_RELEASED_SCHEDULE as MOCO_RELEASED_SCHEDULE
    from dbtssl.methods.moco_settings import MOCO_SCHEDULE as MOCO_SCHEDULE
    from dbtssl.nn.backbones import create_encoder as create_encoder
    from dbtssl.nn.collapse import feature_std as feature_std
    from dbtssl.nn.collapse import one_vector as one_vector
    from dbtssl.nn.collapse import rankme as rankme
    from dbtssl.nn.collapse import softmax_entropy as softmax_entropy
    from dbtssl.nn.contrast import add_keys as add_keys
    from dbtssl.nn.contrast import info_nce as info_nce
    from dbtssl.nn.contrast import own_keys as own_keys
    from dbtssl.nn.devices.distributed import gather as gather
    from dbtssl.nn.devices.distributed import gather_with_gradient as gather_with_gradient
    from dbtssl.nn.devices.distributed import rank as rank
    from dbtssl.nn.devices.distributed import shuffle as shuffle
    from dbtssl.nn.devices.distributed import unshuffle as unshuffle
    from dbtssl.nn.devices.distributed import world_size as world_size
    from dbtssl.nn.devices.split_batchnorm import split_batchnorm as split_batchnorm
    from dbtssl.nn.devices.synced_batchnorm import sync_batchnorm as sync_batchnorm
    from dbtssl.nn.feature_map import place_width as place_width
    from dbtssl.nn.feature_map import places_and_pooled as places_and_pooled
    from dbtssl.nn.projected import Projected as Projected
    from dbtssl.nn.projected import full_precision as full_precision
    from dbtssl.nn.queue import Queue as Queue
    from dbtssl.nn.self_distillation import cosine_momentum as cosine_momentum
    from dbtssl.nn.self_distillation import prototype_head as prototype_head
    from dbtssl.nn.self_distillation import warmed_up as warmed_up
    from dbtssl.nn.teacher import MomentumTeacher as MomentumTeacher
    from dbtssl.views.random_numbers import normal as normal
    from dbtssl.views.random_numbers import uniform as uniform
    from dbtssl.views.settings import PairViews as PairViews
    from dbtssl.views.settings import PositiveRange as PositiveRange
    from dbtssl.views.settings import Shares as Shares
    from dbtssl.views.settings import SigmaRange as SigmaRange
    from dbtssl.views.settings import pair_views as pair_views
else:  # what no type checker reads, so that it knows a name that does not exist
    __all__, __getattr__, __dir__ = lazy_names(__name__)
