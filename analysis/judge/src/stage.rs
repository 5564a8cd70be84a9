//! Where a rollout stands while a comparing check looks: what the caller knows and the source does not.

use haldane_model::Weight;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The step that a look belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Which step; another number begins non-inferiority anew.
    pub step: u32,
    /// The share of the side under test now. [`Weight::FULL`] means that nothing is left to compare with.
    pub weight: Weight,
    /// The share of the step after it; `None` where there is none.
    pub next: Option<Weight>,
    /// The source's time from which windows belong to this step: when its share was confirmed.
    /// Windows that begin earlier still count towards a regression.
    pub windows_from: Timestamp,
    /// Whether a Pass ends something, and must be earned. Where not, a Pass says that nothing was
    /// found against the side under test.
    pub gates: bool,
}
