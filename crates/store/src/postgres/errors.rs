//! What the errors of sqlx and PostgreSQL mean to our callers.

use quillwork_app::ports::store::StoreError;
use sqlx::error::DatabaseError;

/// Another row has this key.
const UNIQUE_VIOLATION: &str = "23505";

/// What the statement of a commit raises if a task is not held as presumed.
const DIVISION_BY_ZERO: &str = "22012";

/// Says what failed at `place`.
pub(super) fn store_error(place: &str, error: sqlx::Error) -> StoreError {
    if let sqlx::Error::Database(error) = &error {
        return refused(place, error.as_ref());
    }
    if let sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) = &error {
        return StoreError::Corrupt(format!("a stored row does not have its shape ({error})"));
    }
    if let sqlx::Error::Io(error) = &error {
        return StoreError::Unavailable(format!(
            "PostgreSQL at {place} cannot be reached: {error}; check that it runs and that the store URL is right"
        ));
    }
    StoreError::Unavailable(format!("PostgreSQL at {place}: {error}"))
}

/// What the server said no to.
fn refused(place: &str, error: &dyn DatabaseError) -> StoreError {
    let message = error.message();
    let unavailable = |advice: &str| {
        let stop = if advice.is_empty() { "" } else { "; " };
        StoreError::Unavailable(format!("PostgreSQL at {place}: {message}{stop}{advice}"))
    };
    let code = error.code().unwrap_or_default();
    match &*code {
        "53100" => {
            StoreError::Full(format!("the disk of PostgreSQL at {place} is full ({message}); make room"))
        }
        "58030" => StoreError::Full(format!("the file system of PostgreSQL at {place} failed ({message})")),
        "XX001" | "XX002" => StoreError::Corrupt(format!("PostgreSQL at {place}: {message}")),
        "28P01" | "28000" => unavailable("check the user and the password in the store URL"),
        "3D000" => unavailable("create the database (`createdb`), then run `quillwork migrate`"),
        "3F000" | "42P01" | "42703" | "42883" => unavailable("run `quillwork migrate`"),
        "42501" => unavailable("grant the user of the store URL what it lacks"),
        "25006" => unavailable("it cannot be written to; connect to the primary server"),
        "53300" => unavailable("raise max_connections there, or lower the connections of each process"),
        _ => unavailable(""),
    }
}

/// True if a row with the same key exists already.
pub(super) fn is_taken(error: &sqlx::Error) -> bool {
    has_code(error, UNIQUE_VIOLATION)
}

/// True if the commit found a task that is not held as presumed.
pub(super) fn is_fenced(error: &sqlx::Error) -> bool {
    has_code(error, DIVISION_BY_ZERO)
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|found| found == code)
}
