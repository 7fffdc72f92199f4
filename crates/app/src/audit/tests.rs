mod archive;
mod damage;
mod memory;
mod rules;
