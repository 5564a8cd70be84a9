//! The stored form of a record: an envelope whose header every version can read.
//!
//! A record of a newer format is never guessed at: its header is read, the rest is kept as it is.

use haldane_model::{Header, Record};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The format that this engine writes.
pub const FORMAT: u32 = 1;

/// What a stored record turns out to be.
#[derive(Clone, Debug)]
pub enum Decoded {
    /// A record of this format, or of an older one.
    Known(Box<Record>),
    /// A record that a newer engine wrote.
    Newer {
        /// What every version can read.
        header: Header,
        /// The whole envelope, as it was.
        rest: Vec<u8>,
    },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    format: u32,
    header: Header,
    #[serde(borrow)]
    record: &'a RawValue,
}

#[derive(Serialize)]
struct EnvelopeOut<'a> {
    format: u32,
    header: &'a Header,
    record: &'a Record,
}

/// Writes a record.
#[must_use]
pub fn encode(record: &Record) -> Vec<u8> {
    let envelope = EnvelopeOut { format: FORMAT, header: &record.header, record };
    serde_json::to_vec(&envelope).expect("a record has text keys and finite numbers only")
}

/// Reads a record. An error says that the bytes are damaged, and where.
pub fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let envelope: Envelope<'_> =
        serde_json::from_slice(bytes).map_err(|error| format!("the record is damaged: {error}"))?;
    if envelope.format > FORMAT {
        return Ok(Decoded::Newer { header: envelope.header, rest: bytes.to_vec() });
    }
    let mut record: Record = serde_json::from_str(envelope.record.get())
        .map_err(|error| format!("the record is damaged: {error}"))?;
    record.header = envelope.header;
    Ok(Decoded::Known(Box::new(record)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use haldane_model::Now;

    use super::*;

    fn record() -> Record {
        let now = Now { wall: jiff::Timestamp::UNIX_EPOCH, mono: Duration::ZERO, boot: 1 };
        Record::new("green".into(), "blue".into(), 3, now)
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let Ok(Decoded::Known(read)) = decode(&encode(&record())) else { panic!("known") };
        assert_eq!(*read, record());
    }

    #[test]
    fn a_newer_record_shows_its_header_and_keeps_the_rest() {
        let text = String::from_utf8(encode(&record())).unwrap();
        let newer = text.replacen("\"format\":1", "\"format\":2", 1).replace("attempt", "tries");
        let Ok(Decoded::Newer { header, rest }) = decode(newer.as_bytes()) else { panic!("newer") };
        assert_eq!((header, rest), (record().header, newer.into_bytes()));
    }

    #[test]
    fn damage_is_told_not_guessed() {
        assert!(decode(b"{\"format\":1}").unwrap_err().contains("damaged"));
    }
}
