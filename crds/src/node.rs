//! A YAML tree that remembers where its nodes stand.
//!
//! The reader refuses duplicate keys, bounds depth, aliases and size, and never includes files.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

use crate::{Diagnostic, Path, Place, Places};

/// Documents longer than this are no rollouts.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// A node and where it stands.
pub(crate) struct Node(Spanned<Content>);

enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(Spanned<String>, Node)>),
}

/// Reads every document of a text.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, Box<Diagnostic>> {
    if text.len() > TEXT_BYTES_MAX {
        let message =
            format!("the text has {} bytes, at most {TEXT_BYTES_MAX} are read", text.len());
        return Err(Box::new(Diagnostic::error(&Path::root(), message)));
    }
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().and_then(place);
        let duplicate = if let serde_saphyr::Error::DuplicateMappingKey { key, .. } = error {
            Some(key.as_deref())
        } else {
            None
        };
        let fault = match duplicate {
            Some(key) => {
                let message = format!("the key `{}` is written twice", key.unwrap_or("?"));
                Diagnostic::error(&Path::root(), message)
                    .help("keep one of the two; neither is taken silently")
            }
            None => Diagnostic::error(&Path::root(), format!("not YAML: {}", plain(error)))
                .help("indent with spaces, and quote strings that hold `: `, `{` or `#`"),
        };
        Box::new(fault.at(place))
    })
}

/// The parser's own words without the place, which is told apart.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    match first.find(" at line ") {
        Some(end) => first[..end].to_owned(),
        None => first.to_owned(),
    }
}

// === impl Node ===

impl Node {
    /// Takes the tree apart: the plain values, and where they stand.
    pub(crate) fn split(self) -> (Value, Places) {
        let mut places = Places::default();
        let value = self.note(Path::root(), None, &mut places);
        (value, places)
    }

    fn note(self, path: Path, key: Option<Place>, places: &mut Places) -> Value {
        places.note(path.clone(), key, place(self.0.referenced));
        match self.0.value {
            Content::Scalar(value) => value,
            Content::List(items) => {
                let items = items.into_iter().enumerate();
                items.map(|(at, item)| item.note(path.index(at), None, places)).collect()
            }
            Content::Map(fields) => {
                let fields = fields.into_iter().map(|(key, node)| {
                    let value = node.note(path.key(&key.value), place(key.referenced), places);
                    (key.value, value)
                });
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Spanned::deserialize(from).map(Self)
    }
}

fn place(location: Location) -> Option<Place> {
    let number = |n: u64| usize::try_from(n).ok();
    let span = location.span();
    (location != Location::UNKNOWN).then(|| {
        Some(Place {
            line: number(location.line())?,
            column: number(location.column())?,
            offset: span.byte_offset().and_then(number),
            len: span.byte_len().and_then(number),
        })
    })?
}

// === impl Content ===

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Content, A::Error> {
        let mut map = Vec::new();
        while let Some(field) = fields.next_entry()? {
            map.push(field);
        }
        Ok(Content::Map(map))
    }
}
