//! The direct scrape: both sides' own pages of metrics, read by ourselves; no Prometheus is needed.
//!
//! A page is taken whole or not at all. A target that does not answer is down; one that answers
//! something else than metrics is an error, because nothing is known of its side then. Times that a
//! page writes beside its samples are not believed: a page that stands still shows no increase.

mod client;
mod config;
mod exposition;

use std::sync::Arc;

use haldane_outside::Outside;
use serde_json::Value;

use self::{
    client::Page,
    config::{Settings, Written},
};
use crate::{
    MetricSource, SettingsError, SourceEntry,
    sampled::{self, Sampled, Target},
    settings,
};

/// The row of the registry.
pub(crate) const ENTRY: SourceEntry = SourceEntry {
    kind: "scrape",
    schema: || schemars::schema_for!(Written),
    check: config::check,
    join: config::join,
    answers: |_settings, question| sampled::answers(question, |_any| Ok(())),
    remembers: false,
    build,
};

fn build(settings: &Value, outside: &Outside) -> Result<Arc<dyn MetricSource>, SettingsError> {
    let written: Written = settings::read(settings)?;
    let first = |mut errors: Vec<SettingsError>| errors.swap_remove(0);
    let Settings { interval, targets } = Settings::read(&written).map_err(first)?;
    let page = |target| Arc::new(Page::new(target, outside.clone())) as Arc<dyn Target>;
    let targets = targets.into_iter().map(page).collect();
    Ok(Arc::new(Sampled::new(targets, interval, |_any| Ok(()))))
}
