//! Makes Cargo notice new migrations: `sqlx::migrate!` alone tracks only those it has seen.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
