mod damage;
mod memory;
mod rules;
