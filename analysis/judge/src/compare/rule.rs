//! The rule of a comparing check: what is tolerated, what must be shown, and how surely.
//!
//! Never guesses: what contradicts itself is refused with the field, the value and the remedy.

use serde::Deserialize;

use crate::betting::{Grid, Margin};

/// How often a healthy release may be rolled back by statistics, per attempt.
const ALPHA: f64 = 0.01;
/// How often a step may be taken though the harm exceeds what is accepted.
const BETA: f64 = 0.05;
/// What a check weighs among all where nothing is said: all of it.
const WEIGHT: f64 = 1.0;
/// Tolerated of the serving side's rate, relative: 10 %. Below that, versions differ without a fault.
const TOLERANCE_RELATIVE: f64 = 0.1;
/// Tolerated besides, of all requests: 0.02 percentage points of errors …
const TOLERANCE_ERRORS: f64 = 0.000_2;
/// … and half a point of slow requests.
const TOLERANCE_LATENCY: f64 = 0.005;
/// With an objective, a tenth of its budget is tolerated at least.
const TOLERANCE_OF_SLO: f64 = 0.1;
/// What must be shown before a step: at most half as bad again …
const MARGIN_RELATIVE: f64 = 0.5;
/// … and this part of all traffic harmed: 0.2 points of errors …
const HARM_ERRORS: f64 = 0.002;
/// … or as many slow requests as are tolerated anyway.
const HARM_LATENCY: f64 = TOLERANCE_LATENCY;
/// The widest margin, however small the next share is.
const HARM_MAX: f64 = 0.05;
/// How long a step is watched at least, in seconds, and over how many windows.
const STEP_SECS_MIN: f64 = 60.0;
const WINDOWS_MIN: u32 = 3;
/// How many requests of the serving side make a rate to judge 100 % by.
const SAMPLES_MIN: f64 = 100.0;

/// What is compared, and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Compare {
    pub(crate) kind: Kind,
    /// The edge of what is tolerated: beyond it lies a regression.
    pub(crate) tolerance: Margin,
    /// How much worse than the serving side a step may turn out, as a factor.
    margin_ratio: f64,
    /// What part of all traffic a step may harm.
    harm: f64,
    pub(crate) alpha: f64,
    pub(crate) beta: f64,
    pub(crate) weight: f64,
    pub(crate) step_secs_min: f64,
    pub(crate) windows_min: u32,
    /// Which part of the requests may be bad by the objective.
    pub(crate) slo: Option<f64>,
    /// Above which bound a request is bad by the objective; latency alone.
    pub(crate) bound: Option<f64>,
    pub(crate) samples_min: f64,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    /// Requests that failed.
    Errors,
    /// Requests that took longer than a bound, at several bounds.
    Latency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    compare: Written,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    kind: Kind,
    tolerance: Option<WrittenTolerance>,
    margin: Option<WrittenMargin>,
    alpha: Option<f64>,
    beta: Option<f64>,
    weight: Option<f64>,
    min_step_seconds: Option<f64>,
    min_windows: Option<u32>,
    slo: Option<f64>,
    bound: Option<f64>,
    unit: Option<String>,
    min_samples: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTolerance {
    relative: Option<f64>,
    absolute: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMargin {
    relative: Option<f64>,
    harm: Option<f64>,
}

// === impl Compare ===

impl Compare {
    /// Reads `{"compare": {…}}`; everything but `kind` has a default.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let document: Document =
            serde_json::from_str(json).map_err(|error| format!("cannot read the rule: {error}"))?;
        let written = document.compare;
        let tolerance = written.tolerance.unwrap_or_default();
        let margin = written.margin.unwrap_or_default();
        let (least, harm, unit) = match written.kind {
            Kind::Errors => (TOLERANCE_ERRORS, HARM_ERRORS, "%"),
            Kind::Latency => (TOLERANCE_LATENCY, HARM_LATENCY, "s"),
        };
        if let Some(told) = written.unit.filter(|told| told != unit) {
            return Err(format!("unit must be {unit} for this kind, got {told}"));
        }
        let slo = written.slo.map(|slo| part("slo", slo)).transpose()?;
        let of_slo = slo.map_or(0.0, |slo| TOLERANCE_OF_SLO * slo);
        let absolute = tolerance.absolute.unwrap_or_else(|| least.max(of_slo));
        let relative = tolerance.relative.unwrap_or(TOLERANCE_RELATIVE);
        let rule = Self {
            kind: written.kind,
            tolerance: Margin {
                ratio: 1.0 + not_negative("tolerance.relative", relative)?,
                absolute: not_negative("tolerance.absolute", absolute)?,
            },
            margin_ratio: 1.0
                + match margin.relative {
                    Some(relative) => not_negative("margin.relative", relative)?,
                    // Who tolerates more must accept more; only what is written contradicts.
                    None => MARGIN_RELATIVE.max(relative),
                },
            harm: match margin.harm {
                Some(harm) => part("margin.harm", harm)?,
                None => harm.max(absolute),
            },
            alpha: part("alpha", written.alpha.unwrap_or(ALPHA))?,
            beta: part("beta", written.beta.unwrap_or(BETA))?,
            weight: weight(written.weight.unwrap_or(WEIGHT))?,
            step_secs_min: not_negative(
                "minStepSeconds",
                written.min_step_seconds.unwrap_or(STEP_SECS_MIN),
            )?,
            windows_min: written.min_windows.unwrap_or(WINDOWS_MIN),
            slo,
            bound: written.bound.map(|bound| not_negative("bound", bound)).transpose()?,
            samples_min: not_negative("minSamples", written.min_samples.unwrap_or(SAMPLES_MIN))?,
        };
        rule.agrees()
    }

    /// Refuses what contradicts itself.
    fn agrees(self) -> Result<Self, String> {
        let Margin { ratio, absolute } = self.tolerance;
        if absolute >= 1.0 {
            return Err(format!(
                "tolerance.absolute must lie below 1, got {absolute}: it is a fraction, 0.01 is 1 %"
            ));
        }
        if ratio > self.margin_ratio {
            return Err(format!(
                "tolerance.relative {} is wider than margin.relative {}: what is tolerated must not \
                 exceed what is accepted; raise margin.relative",
                ratio - 1.0,
                self.margin_ratio - 1.0
            ));
        }
        if absolute > self.harm {
            return Err(format!(
                "tolerance.absolute {absolute} is wider than margin.harm {}: what is tolerated must \
                 not exceed what is accepted; raise margin.harm",
                self.harm
            ));
        }
        if self.bound.is_some() && (self.kind != Kind::Latency || self.slo.is_none()) {
            return Err("bound belongs to an objective for latency: set kind latency and slo, or \
                        leave bound out"
                .to_owned());
        }
        if self.windows_min == 0 {
            return Err("minWindows must be at least 1, got 0".to_owned());
        }
        Ok(self)
    }

    /// Returns the strategies against a regression.
    pub(crate) fn grid(&self) -> &'static Grid {
        match self.kind {
            Kind::Errors => Grid::errors(),
            Kind::Latency => Grid::latency(),
        }
    }

    /// Returns the `ln E` at which this check alone rolls back.
    pub(crate) fn needed(&self) -> f64 {
        (1.0 / (self.alpha * self.weight)).ln()
    }

    /// Returns the `ln E` from which no step is taken: 1/√α.
    pub(crate) fn hold(&self) -> f64 {
        (1.0 / self.alpha).ln() / 2.0
    }

    /// Returns the `ln E` that clears a step.
    pub(crate) fn cleared(&self) -> f64 {
        (1.0 / self.beta).ln()
    }

    /// Returns the edge of what is accepted when the share becomes `next`: the same harm to all
    /// traffic is more of a smaller share.
    pub(crate) fn margin(&self, next: f64) -> Margin {
        let scaled = (self.harm / next).min(HARM_MAX);
        Margin { ratio: self.margin_ratio, absolute: scaled.max(self.tolerance.absolute) }
    }

    /// Returns how people call what is counted.
    pub(crate) fn noun(&self) -> &'static str {
        match self.kind {
            Kind::Errors => "errors",
            Kind::Latency => "requests slower",
        }
    }
}

fn part(field: &str, value: f64) -> Result<f64, String> {
    if value > 0.0 && value < 1.0 {
        return Ok(value);
    }
    Err(format!("{field} must lie between 0 and 1, got {value}: it is a fraction, 0.01 is 1 %"))
}

fn weight(value: f64) -> Result<f64, String> {
    if value > 0.0 && value <= 1.0 {
        return Ok(value);
    }
    Err(format!("weight must lie above 0 and not above 1, got {value}: all weights add up to 1"))
}

fn not_negative(field: &str, value: f64) -> Result<f64, String> {
    if value >= 0.0 {
        return Ok(value);
    }
    Err(format!("{field} must not be negative, got {value}: leave it out for the default"))
}
