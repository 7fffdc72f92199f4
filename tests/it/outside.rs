//! Whole jobs with a search, pages and a language model, against a world that fails as the real one does.

mod draft;
mod model;
mod pages;
mod steps;

use quillwork_tests::world::World;

/// Three pages about leap seconds, and one about something else.
async fn world() -> World {
    let world = World::start().await;
    world.page(
        "/leap",
        "Leap seconds",
        &[
            "A leap second is a second that is added to clocks to keep them near the turning of the earth. It is inserted at the end of June or December. The last leap second was added in the year 2016.",
            "Leap seconds are announced half a year before they come. Computers that count seconds without them run ahead of the clocks of people. Many systems have failed when a leap second came.",
        ],
        &["/smear"],
    );
    world.page(
        "/smear",
        "Smearing leap seconds",
        &[
            "To smear a leap second is to make many seconds a little longer instead of adding one. Servers that smear a leap second never show the same time twice. All servers of a group must smear in the same way.",
        ],
        &["/leap", "/trees"],
    );
    world.page(
        "/trees",
        "Trees",
        &["Trees grow towards the light, and their leaves turn with the sun. Old trees grow slowly and hold more birds than young ones do."],
        &[],
    );
    world
}
