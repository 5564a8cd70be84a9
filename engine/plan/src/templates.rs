//! Analysis templates: what a rollout uses becomes checks of its own, before anything reads them.
//!
//! [`Templates`] is what may be used, [`expand`] puts the checks of what is used behind the rollout's
//! own, and [`validate_template`] looks at a template by itself. A fault of a check that a template
//! brought is told at its place in the template, with the rollout that uses it.

mod alone;
mod arguments;
mod expand;
mod library;

pub(crate) use self::expand::{Origins, expand};
pub use self::{alone::validate_template, library::Templates};

#[cfg(test)]
mod tests;
