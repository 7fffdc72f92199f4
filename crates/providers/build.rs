//! Compiles the crate anew when the documentation that it embeds has changed.

fn main() {
    println!("cargo::rerun-if-changed=../../docs");
}
