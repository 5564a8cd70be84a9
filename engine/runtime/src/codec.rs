//! The stored form of a record: an envelope whose header every version can read.
//!
//! A record of a newer format is never guessed at: its header is read and written, the rest is kept as
//! it is, to the byte.

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

/// Puts another header into a record that a newer engine wrote; every other byte stays as it was.
/// `None` where the bytes are no record.
#[must_use]
pub fn with_header(bytes: &[u8], header: &Header) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Found<'a> {
        #[serde(borrow)]
        header: &'a RawValue,
    }
    let found: Found<'_> = serde_json::from_slice(bytes).ok()?;
    let old = found.header.get();
    // The header was borrowed from these very bytes.
    let begin = (old.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
    let (before, rest) = bytes.split_at_checked(begin)?;
    let mut out = before.to_vec();
    serde_json::to_writer(&mut out, header).ok()?;
    out.extend_from_slice(rest.get(old.len()..)?);
    Some(out)
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
    fn another_header_changes_no_other_byte_of_a_newer_record() {
        let header = serde_json::to_string(&record().header).unwrap();
        let (front, back) = (
            "{\n \"format\" : 2, \"odd\": [1,  2], \"header\": ",
            " ,\"record\":{\"b\":1,\"a\": 1.50}}\n",
        );
        let stored = format!("{front}{header}{back}");
        let lowered =
            Header { lowered: Some(haldane_model::Cause::AbortedByPerson), ..record().header };
        let written = with_header(stored.as_bytes(), &lowered).unwrap();
        let Ok(Decoded::Newer { header, .. }) = decode(&written) else { panic!("newer") };
        assert_eq!(header, lowered);
        let text = String::from_utf8(written.clone()).unwrap();
        assert!(text.starts_with(front) && text.ends_with(back), "{text}");
        let again = with_header(&written, &record().header).unwrap();
        assert_eq!(String::from_utf8(again).unwrap(), stored, "and back again");
    }

    #[test]
    fn a_record_from_before_a_field_was_added_is_read() {
        let text = String::from_utf8(encode(&record())).unwrap();
        let older = text.replacen(",\"standing\":{}", "", 1);
        assert_ne!(older, text);
        let Ok(Decoded::Known(read)) = decode(older.as_bytes()) else { panic!("known") };
        assert_eq!(*read, record());
    }

    #[test]
    fn damage_is_told_not_guessed() {
        assert!(decode(b"{\"format\":1}").unwrap_err().contains("damaged"));
    }
}
