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
        let (overruled, fault, parts, deadline) = self.with(|inside| {
            inside.written.push(written);
            (
                inside.overruling(mark),
                inside.writes.clone(),
                inside.parts.len(),
                inside.capabilities.write_deadline,
            )
        });
        if let Some(held) = overruled {
            return Err(Error::Conflict(format!("it carries {held}, newer than this raise")));
        }
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

#[cfg(test)]
mod tests {
    use haldane_model::{Direction, Mark, Split, Weight};

    use super::*;
    use crate::{Sides, TrafficProvider};

    fn memory(parts: usize, writes: Fault) -> Memory {
        let sides = Sides { first: "blue".into(), second: "green".into() };
        let memory = Memory::of_parts(&sides, parts);
        memory.with(|inside| inside.writes = writes);
        memory
    }

    async fn raise(memory: &Memory) -> Result<(), Error> {
        let split = Split::new("green".into(), Weight::FULL);
        memory.write(split, Direction::Raise, Mark::raise(1)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_write_lands_after_it_failed() {
        let memory = memory(1, Fault::Late(Duration::from_secs(60)));
        assert!(matches!(raise(&memory).await, Err(Error::Unavailable(_))));
        sleep(Duration::from_secs(59)).await;
        assert_eq!(memory.share_of(&"green".into()), Weight::ZERO);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(memory.share_of(&"green".into()), Weight::FULL);
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_unanswered_write_lands() {
        for (fault, landed) in [
            (Fault::Unanswered, Weight::FULL),
            (Fault::Unavailable, Weight::ZERO),
            (Fault::Hung, Weight::ZERO),
            (Fault::Conflict, Weight::ZERO),
            (Fault::Invalid, Weight::ZERO),
        ] {
            let memory = memory(1, fault.clone());
            assert!(raise(&memory).await.is_err(), "{fault:?}");
            assert_eq!(memory.share_of(&"green".into()), landed, "{fault:?}");
            assert_eq!(memory.with(|inside| inside.written.len()), 1, "every write is kept");
        }
    }

    #[tokio::test]
    async fn a_partial_write_is_read_as_a_range() {
        let memory = memory(3, Fault::Partial(2));
        assert!(matches!(raise(&memory).await, Err(Error::Partial { done: 2, of: 3, .. })));
        let reading = memory.read().await.unwrap();
        assert_eq!((reading.lowest, reading.highest), (Weight::ZERO, Weight::FULL));
        memory.with(|inside| inside.reads = Fault::Partial(1));
        assert_eq!(memory.read().await.unwrap().silent_parts().count(), 2);
    }
}
