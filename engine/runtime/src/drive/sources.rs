//! The sources' calls: looks, facts, revisions.

use std::{sync::Arc, time::Duration};

use haldane_model::SourceName;
use haldane_sources::MetricSource;

use super::{Driver, TOO_LATE};
use crate::Input;

// === impl Driver ===

impl Driver {
    pub(super) fn source(&mut self, name: &SourceName) -> Result<Arc<dyn MetricSource>, String> {
        let plan = self.plan().ok_or("no plan names a source")?;
        let source = plan.sources.iter().find(|source| source.name == *name);
        let source = source.ok_or_else(|| format!("no source {name}"))?;
        let known = self.clients.sources.get(name).filter(|(text, _)| *text == source.settings);
        if let Some((_, client)) = known {
            return Ok(client.clone());
        }
        let (kind, settings) = (&source.kind, source.settings.clone());
        let built = self.ports.factory.source(kind, &settings, &self.ports.outside)?;
        self.clients.sources.insert(name.clone(), (settings, built.clone()));
        Ok(built)
    }

    pub(super) fn revisions(
        &mut self,
        side: haldane_model::SideName,
        question: Arc<str>,
        deadline: Duration,
    ) {
        let parts = split_source(&question);
        let client = parts.and_then(|(source, question)| Ok((self.source(&source)?, question)));
        let late = Input::Revisions { side: side.clone(), revisions: Err(TOO_LATE.to_owned()) };
        self.spawn(late, async move {
            let revisions = match client {
                Ok((client, question)) => client.revisions(question, deadline).await,
                Err(why) => Err(why),
            };
            Input::Revisions { side, revisions }
        });
    }
}

/// Takes the source's name out of a pinned revision query: the rest is the question.
fn split_source(question: &str) -> Result<(SourceName, Arc<str>), String> {
    let damaged = || "the revision query is damaged".to_owned();
    let mut query: serde_json::Value =
        serde_json::from_str(question).map_err(|error| format!("{}: {error}", damaged()))?;
    let source = query.as_object_mut().and_then(|query| query.remove("source"));
    let source = source.as_ref().and_then(serde_json::Value::as_str).ok_or_else(damaged)?;
    Ok((SourceName::from(source), query.to_string().into()))
}

pub(super) fn no_sample(window: haldane_model::Window, why: String) -> haldane_model::Sample {
    haldane_model::Sample {
        window,
        scrape: Duration::from_secs(15),
        share: None,
        answer: haldane_model::Answer::Error { message: why, retryable: false },
        count: None,
        serving_count: None,
        targets_down: false,
    }
}
