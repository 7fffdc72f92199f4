mod archive;
mod content;
mod damage;
mod memory;
mod queue;
mod rules;
