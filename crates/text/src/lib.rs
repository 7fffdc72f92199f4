//! What can be told of a text by looking at it. No I/O, and the same text always gives the same answer.
//!
//! [`words`] and [`sentence`] take texts apart, [`citations`] does so with articles, and [`render`] shows them.
//! [`similarity`] finds texts that say the same in the same words, and [`rank`] those that speak about a topic.

pub mod citations;
pub mod escape;
pub mod rank;
pub mod render;
pub mod sentence;
pub mod similarity;
pub mod words;
