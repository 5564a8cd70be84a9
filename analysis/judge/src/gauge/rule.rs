//! The rule of a check of a gauge, read from the plan's JSON.

use serde::Deserialize;

use crate::ranks::{GaugeSettings, Worse};

/// How many windows make a block at least: neighbours nearer than that resemble one another.
const BLOCK: usize = 3;
/// The most blocks, and windows in a block, that may be asked for.
const BLOCKS_MAX: usize = 50;
const BLOCK_MAX: usize = 60;

/// How a gauge is compared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GaugeRule {
    /// Which direction is worse, what is tolerated, how many blocks a side needs.
    pub(crate) settings: GaugeSettings,
    /// Whether a gauge that is worse sends the traffic back, or only holds.
    pub(crate) critical: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    gauge: Written,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    worse: WrittenWorse,
    tolerance: Option<f64>,
    blocks: Option<usize>,
    block: Option<usize>,
    alpha: Option<f64>,
    #[serde(default)]
    critical: bool,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenWorse {
    #[default]
    Higher,
    Lower,
}

// === impl GaugeRule ===

impl GaugeRule {
    /// Reads `{"gauge": {…}}`; everything has a default.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let document: Document =
            serde_json::from_str(json).map_err(|error| format!("cannot read the rule: {error}"))?;
        let Written { worse, tolerance, blocks, block, alpha, critical } = document.gauge;
        let usual = GaugeSettings::default();
        let settings = GaugeSettings {
            worse: match worse {
                WrittenWorse::Higher => Worse::Higher,
                WrittenWorse::Lower => Worse::Lower,
            },
            tolerance: tolerance.unwrap_or(usual.tolerance),
            blocks_min: blocks.unwrap_or(usual.blocks_min),
            block: block.unwrap_or(BLOCK),
            alpha: alpha.unwrap_or(usual.alpha),
            ..usual
        };
        if settings.tolerance < 0.0 {
            return Err(format!("tolerance must not be negative, got {}", settings.tolerance));
        }
        if settings.alpha <= 0.0 || settings.alpha > 0.5 {
            return Err(format!(
                "alpha must lie above 0 and not above 0.5, got {}: it is a chance, 0.01 is usual",
                settings.alpha
            ));
        }
        let counts = [
            ("blocks", settings.blocks_min, 5, BLOCKS_MAX),
            ("block", settings.block, 1, BLOCK_MAX),
        ];
        for (field, value, least, most) in counts {
            if !(least..=most).contains(&value) {
                return Err(format!("{field} must lie between {least} and {most}, got {value}"));
            }
        }
        Ok(Self { settings, critical })
    }

    /// Returns the chance of a false alarm that the one look of a step may spend: all steps together
    /// spend half of it, however many there are.
    pub(crate) fn alpha_of_step(&self, step: u32) -> f64 {
        let at = f64::from(step);
        self.settings.alpha / 2.0 / ((at + 1.0) * (at + 2.0))
    }

    /// Returns the `ln E` at which the signs show that it is worse: they have the other half.
    pub(crate) fn needed(&self) -> f64 {
        (2.0 / self.settings.alpha).ln()
    }
}
