//! What is written of a rollout becomes a plan, with the templates that it uses; or what is wrong with it is told.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use haldane_crds::Diagnostic;
use haldane_host::{Intent, Written, compile_in_cluster};
use haldane_model::RolloutId;
use haldane_outside::Mirror;
use haldane_plan::Templates;
use serde_json::{Value, json};

use super::{AGAIN, FIRST_RECORD_MAX, ROUTE_AGAIN, Rollouts, generation_of, is_new, observed};
use crate::api;

// === impl Rollouts ===

impl Rollouts {
    /// Compiles what is written and tells the loop. Returns whether another one has its route, and when to
    /// come again.
    pub(super) async fn tell(
        &self,
        id: &RolloutId,
        rollout: &Value,
        adopt: bool,
        waited: Duration,
    ) -> (bool, Option<Duration>) {
        let written = match self.contents(id, rollout) {
            None => self.compile(id, rollout).await,
            Some(why) => Err((why, true)),
        };
        let written = match written {
            Ok(written) => written,
            Err((message, may_pass)) => {
                self.refuse(id, rollout, message).await;
                let again = if waited.is_zero() { AGAIN.0 } else { (waited * 2).min(AGAIN.1) };
                return (false, may_pass.then_some(again));
            }
        };
        if let Some((first, target)) = self.engine.claim(id, &written.targets).await {
            let why = format!(
                "{target} is driven by the rollout {first} already; give each route one rollout"
            );
            self.refuse(id, rollout, why).await;
            return (true, Some(ROUTE_AGAIN));
        }
        for warning in &written.warnings {
            tracing::debug!(rollout = %id, "{}", warning.message);
        }
        // What takes its time before, such as a source that is asked for its metrics, keeps nobody from beginning.
        let _turn = if is_new(rollout) { self.beginning.acquire().await.ok() } else { None };
        let applied = self.engine.apply(&written, Intent { named: false, adopt });
        // What is not looked at yet is not observed.
        tokio::spawn({
            let (store, id, generation) = (self.store.clone(), id.clone(), generation_of(rollout));
            async move {
                if applied.told.await.is_ok() {
                    observed(&store, &id, generation);
                }
            }
        });
        let _ = tokio::time::timeout(FIRST_RECORD_MAX, self.store.shelf.recorded(id)).await;
        (false, None)
    }

    async fn refuse(&self, id: &RolloutId, rollout: &Value, why: String) {
        self.engine.invalid(id, why).await;
        observed(&self.store, id, generation_of(rollout));
    }

    /// Says why the contents that count are not known yet, as long as nothing is recorded: what stands on a side would
    /// be taken for new afterwards.
    fn contents(&self, id: &RolloutId, rollout: &Value) -> Option<String> {
        is_new(rollout).then(|| self.workloads.unread_contents(id, rollout)).flatten()
    }

    async fn compile(&self, id: &RolloutId, rollout: &Value) -> Result<Written, (String, bool)> {
        let document = json!({
            "apiVersion": rollout["apiVersion"],
            "kind": rollout["kind"],
            "metadata": {"name": &*id.name, "namespace": &*id.namespace},
            "spec": rollout["spec"],
        });
        let parsed = haldane_plan::parse(&document.to_string());
        let parsed = parsed.map_err(|found| (in_words(&found), false))?;
        let Some(document) = parsed.rollouts.first() else {
            return Err(("it is no Rollout".to_owned(), false));
        };
        let templates = self.templates_for(id);
        let compiled = compile_in_cluster(document, templates, &self.outside).await;
        compiled.map_err(|wrong| (in_words(&wrong.diagnostics), wrong.may_pass))
    }

    fn templates_for(&self, id: &RolloutId) -> Templates {
        let registries = haldane_plan::registries();
        let unread = |template: &Value, found: &[Diagnostic]| {
            let text = |at| api::text(template, at);
            format!("{} {}: {}", text("/kind"), text("/metadata/name"), in_words(found))
        };
        let mut templates = Templates::default();
        for template in self.usable(id) {
            let mut document = (*template).clone();
            document["metadata"] = match api::text(&template, "/metadata/namespace") {
                "" => json!({"name": template["metadata"]["name"]}),
                namespace => {
                    json!({"name": template["metadata"]["name"], "namespace": namespace})
                }
            };
            match haldane_plan::parse(&document.to_string()) {
                Ok(parsed) => {
                    let refused = |one| haldane_plan::template_for_kubernetes(one, &registries);
                    match parsed.templates.iter().flat_map(refused).collect::<Vec<_>>() {
                        found if found.is_empty() => templates.add(parsed.templates, None),
                        found => templates.add_unread(&unread(&template, &found)),
                    }
                }
                Err(found) => templates.add_unread(&unread(&template, &found)),
            }
        }
        templates
    }

    fn usable(&self, id: &RolloutId) -> Vec<Arc<Value>> {
        let all = self.templates.iter().flat_map(Mirror::list);
        all.filter(|template| {
            let namespace = api::text(template, "/metadata/namespace");
            namespace.is_empty() || namespace == &*id.namespace
        })
        .collect()
    }

    pub(super) fn versions(&self, id: &RolloutId) -> Vec<String> {
        let usable = self.usable(id);
        let of = |template: &Arc<Value>| {
            let (uid, generation) =
                (api::text(template, "/metadata/uid"), &template["metadata"]["generation"]);
            format!("{uid}/{generation}")
        };
        usable.iter().map(of).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Says what is wrong, each with its field; there are no lines in an object.
fn in_words(found: &[Diagnostic]) -> String {
    let shown = found.iter().take(5).map(|one| {
        let help = one.help.as_ref().map_or(String::new(), |help| format!("; {help}"));
        match one.path.as_str() {
            "" => format!("{}{help}", one.message),
            path => format!("{path}: {}{help}", one.message),
        }
    });
    let words = shown.collect::<Vec<_>>().join(". ");
    match found.len().saturating_sub(5) {
        0 => words,
        more => format!("{words} (and {more} more)"),
    }
}
