//! Watching: flipped, and still guarded; the previous revision stands by.

use haldane_model::{Place, Weight};

use crate::{turn::Turn, view::Shown};

/// Ends a restoration that is confirmed, and takes note when the serving side was changed under
/// full traffic: that is reported, never rolled out, and the watch begins again.
pub(crate) fn keep(turn: &mut Turn<'_>) {
    if let Place::Watching { watched, restore: Some(_) } = turn.record.place
        && turn.is_confirmed(Weight::FULL)
    {
        turn.record.place = Place::Watching { watched, restore: None };
    }
    if !turn.has_test_changed() {
        return;
    }
    let test = turn.record.header.test.clone();
    if let Shown::One(shown) = turn.shown(&test) {
        let shown = shown.clone();
        turn.record.promoted.insert(test.clone(), shown.clone());
        let detail = format!("{test} was changed to {shown} under full traffic");
        turn.record.revision = Some(shown);
        turn.record.evidence.clear();
        turn.record.judged_to.clear();
        if let Place::Watching { watched, .. } = &mut turn.record.place {
            *watched = std::time::Duration::ZERO;
        }
        turn.tell(
            haldane_model::Reason::RevisionChanged,
            haldane_model::Actor::Engine,
            None,
            Some(detail),
        );
    }
}
