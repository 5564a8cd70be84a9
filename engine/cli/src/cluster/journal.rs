//! The journal of a rollout in a cluster: what rides in its status, and what was copied into the records of its
//! analyses.

use haldane_api::{Entry, JournalPage};
use haldane_model::{JournalEntry, RolloutId};
use haldane_runtime::explain;
use serde_json::Value;

use super::{Seat, runs, text};

// === impl Seat ===

impl Seat {
    /// Reads a stretch of a journal.
    pub(crate) async fn journal(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> miette::Result<JournalPage> {
        let riding = entries_at(&self.rollout(id).await?, "/status/lastDecision/entries");
        // Who follows a rollout seldom needs more than what its last decision carries.
        let connects = after > 0 && riding.first().is_some_and(|first| first.id <= after + 1);
        let copied = match connects {
            true => Vec::new(),
            false => self.runs(Some(id), Some(&id.namespace)).await?,
        };
        let copied = copied.iter().flat_map(|run| entries_at(run, "/status/entries"));
        Ok(page(copied.chain(riding).collect(), after, limit))
    }

    /// Reads the records of the analyses of a rollout, or of all of a namespace or of all of them, oldest first.
    pub(crate) async fn runs(
        &self,
        id: Option<&RolloutId>,
        namespace: Option<&str>,
    ) -> miette::Result<Vec<Value>> {
        let all = super::collection("analysisruns", namespace)?;
        let listed = match id {
            Some(id) => {
                let chosen =
                    format!("{all}?fieldSelector=spec.rollout%3D{}", super::named(&id.name)?);
                match self.list(&chosen).await {
                    // An API server that cannot choose by this field gives all.
                    Err(haldane_outside::ClusterError::Refused(refusal)) if refusal.code == 400 => {
                        self.list(&all).await
                    }
                    listed => listed,
                }
            }
            None => self.list(&all).await,
        };
        let listed =
            listed.map_err(|error| super::trouble::of_list(error, "analysisruns", namespace));
        let mut listed = listed?;
        listed.retain(|run| id.is_none_or(|id| text(run, "/spec/rollout") == &*id.name));
        listed.sort_by_key(|run| {
            let [namespace, rollout] =
                ["/metadata/namespace", "/spec/rollout"].map(|at| text(run, at));
            (namespace.to_owned(), rollout.to_owned(), runs::attempt(run))
        });
        Ok(listed)
    }
}

/// The entries that an object carries as texts; a damaged one is left out.
fn entries_at(object: &Value, at: &str) -> Vec<JournalEntry> {
    let texts = object.pointer(at).and_then(Value::as_array).into_iter().flatten();
    texts.filter_map(|text| serde_json::from_str(text.as_str()?).ok()).collect()
}

/// Puts entries in order, each once, and says from when on none is missing.
fn page(mut entries: Vec<JournalEntry>, after: u64, limit: usize) -> JournalPage {
    entries.sort_by_key(|entry| entry.id);
    entries.dedup_by_key(|entry| entry.id);
    let gap = entries.windows(2).rposition(|pair| pair[1].id > pair[0].id + 1);
    let complete_since = match (gap, entries.first()) {
        (Some(at), _) => entries.get(at + 1).map(|entry| entry.at),
        (None, Some(first)) if first.id > 1 => Some(first.at),
        (None, Some(_) | None) => None,
    };
    let wanted = entries.into_iter().filter(|entry| entry.id > after).take(limit);
    let entries = wanted.map(|entry| {
        let sentence = explain::sentence(&entry);
        Entry { entry, sentence }
    });
    JournalPage { entries: entries.collect(), complete_since }
}

#[cfg(test)]
mod tests {
    use haldane_model::{Actor, Reason, State, Weight};
    use jiff::Timestamp;

    use super::*;

    fn entry(id: u64) -> JournalEntry {
        JournalEntry {
            id,
            at: Timestamp::from_second(i64::try_from(id).unwrap()).unwrap(),
            attempt: 1,
            revision: None,
            step: None,
            weight: Weight::ZERO,
            before: State::Pending,
            after: State::Shifting,
            reason: Reason::Started,
            cause: None,
            actor: Actor::Engine,
            finding: None,
            detail: None,
        }
    }

    #[track_caller]
    fn check(ids: &[u64], after: u64, shown: &[u64], since: Option<i64>) {
        let page = page(ids.iter().map(|id| entry(*id)).collect(), after, 100);
        let got: Vec<u64> = page.entries.iter().map(|told| told.entry.id).collect();
        assert_eq!((got.as_slice(), page.complete_since.map(Timestamp::as_second)), (shown, since));
    }

    #[test]
    fn entries_come_in_order_and_once_and_what_is_missing_is_said() {
        check(&[], 0, &[], None);
        check(&[2, 1, 2, 3], 0, &[1, 2, 3], None);
        check(&[2, 1, 3], 2, &[3], None);
        check(&[4, 5], 0, &[4, 5], Some(4));
        check(&[1, 2, 7, 8], 0, &[1, 2, 7, 8], Some(7));
    }
}
