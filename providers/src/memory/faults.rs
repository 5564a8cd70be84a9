//! How the in-memory provider fails: the ways in which real ones do.

use std::time::Duration;

use haldane_model::Reading;
use tokio::time::sleep;

use super::{Inside, Memory, Written};
use crate::Error;

/// How calls fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// They do not.
    #[default]
    None,
    /// They fail at once, without an effect.
    Unavailable,
    /// They fail when the deadline is over, without an effect.
    Hung,
    /// Only this many parts take part.
    Partial(usize),
    /// A write has its effect, and its answer is lost.
    Unanswered,
    /// A write fails at once, and has its effect this much later, whatever was written meanwhile.
    Late(Duration),
    /// Someone else wrote in between; no effect.
    Conflict,
    /// A person is needed; no effect.
    Invalid,
}

// === impl Memory ===

impl Memory {
    pub(super) async fn faulty_read(&self) -> Result<Reading, Error> {
        let (fault, parts, deadline) = {
            let inside = self.inside();
            (inside.reads.clone(), inside.parts.len(), inside.capabilities.write_deadline)
        };
        let told = match fault {
            Fault::None | Fault::Late(_) => parts,
            Fault::Partial(told) => told.min(parts),
            Fault::Hung => {
                sleep(deadline).await;
                return Err(unavailable());
            }
            Fault::Unavailable | Fault::Unanswered => return Err(unavailable()),
            Fault::Conflict => return Err(Error::Conflict("someone else wrote".into())),
            Fault::Invalid => return Err(Error::Invalid("the memory is told to refuse".into())),
        };
        self.inside().reading(&self.sides.second, told).ok_or_else(unavailable)
    }

    pub(super) async fn faulty_write(&self, written: Written) -> Result<(), Error> {
        let share = written.split.share_of(&self.sides.second);
        let mark = written.mark;
        let (fault, parts, deadline) = self.with(|inside| {
            inside.written.push(written);
            (inside.writes.clone(), inside.parts.len(), inside.capabilities.write_deadline)
        });
        let land = move |inside: &mut Inside| {
            inside.put(share, mark, parts);
            inside.writer = None;
        };
        match fault {
            Fault::None => {
                self.with(land);
                Ok(())
            }
            Fault::Unanswered => {
                self.with(land);
                Err(unavailable())
            }
            Fault::Late(after) => {
                let memory = self.clone();
                tokio::spawn(async move {
                    sleep(after).await;
                    memory.with(land);
                });
                Err(unavailable())
            }
            Fault::Partial(done) if done < parts => {
                self.with(|inside| inside.put(share, mark, done));
                Err(Error::Partial { done, of: parts, message: "the others do not answer".into() })
            }
            Fault::Partial(_) => {
                self.with(land);
                Ok(())
            }
            Fault::Hung => {
                sleep(deadline).await;
                Err(unavailable())
            }
            Fault::Unavailable => Err(unavailable()),
            Fault::Conflict => Err(Error::Conflict("someone else wrote".into())),
            Fault::Invalid => Err(Error::Invalid("the memory is told to refuse".into())),
        }
    }
}

fn unavailable() -> Error {
    Error::Unavailable("the memory does not answer".into())
}
