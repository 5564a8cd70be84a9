//! What others decide by, for comparison only: no verdict of the product rests on anything here.
//!
//! Each is written from its source or its paper. They are not tuned against us: the settings are the
//! defaults or those of the tutorial.

pub mod bands;
pub mod gamma;
pub mod kayenta;
pub mod multinomial;
pub mod proportions;
pub mod thresholds;
