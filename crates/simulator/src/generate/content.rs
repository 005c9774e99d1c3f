//! What a team writes: titles, descriptions and comments of a billing service and a mobile app.

use rand::RngExt as _;
use rand::rngs::SmallRng;

/// A product: its areas, each with things that can break in it.
#[derive(Debug)]
pub(super) struct Product {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) language: &'static str,
    pub(super) areas: &'static [(&'static str, &'static [&'static str])],
    conditions: &'static [&'static str],
    wishes: &'static [&'static str],
    paths: &'static [&'static str],
}

pub(super) const BILLING: Product = Product {
    name: "Billing",
    description: "Invoices, subscriptions and payments for every product we sell",
    language: "Rust",
    areas: &[
        (
            "invoices",
            &["Invoice PDF", "Credit note", "Invoice numbering", "Draft invoice", "Line item rounding"],
        ),
        ("payments", &["Card payment", "SEPA mandate", "Refund", "3-D Secure challenge", "Payment retry"]),
        ("subscriptions", &["Plan change", "Trial end", "Proration", "Seat count", "Renewal reminder"]),
        ("tax", &["VAT id check", "Reverse charge", "Tax rate lookup", "Tax summary"]),
        ("ledger", &["Ledger export", "Daily balance", "Journal entry", "Reconciliation report"]),
        ("webhooks", &["Webhook delivery", "Webhook signature", "Event replay", "Webhook dashboard"]),
    ],
    conditions: &[
        "the customer changes plan in the middle of the period",
        "the currency has no minor unit",
        "two workers pick up the same job",
        "the account was created before the migration of 2023",
        "daylight saving time ends inside the billing period",
        "the request is retried after a timeout",
        "the country code is missing",
        "there are more than 1,000 line items",
        "the amount is zero after a coupon",
        "the customer has two active subscriptions",
        "the bank answers after the cut-off time",
    ],
    wishes: &[
        "Let finance download all invoices of a month as one archive",
        "Show the next charge before a plan change is confirmed",
        "Support purchase order numbers on invoices",
        "Allow a grace period per customer before access is suspended",
        "Send the receipt to more than one address",
        "Offer yearly plans with monthly payment",
        "Add an audit trail for manual credit notes",
        "Let support pause a subscription",
        "Expose tax totals in the reporting API",
    ],
    paths: &[
        "src/invoice/render.rs",
        "src/payment/retry.rs",
        "src/ledger/export.rs",
        "src/tax/rates.rs",
        "src/subscription/proration.rs",
    ],
};

pub(super) const MOBILE: Product = Product {
    name: "Field service app",
    description: "The field service app for Android and iOS",
    language: "Kotlin",
    areas: &[
        ("sync", &["Background sync", "Conflict dialog", "Upload queue", "Delta download", "Sync indicator"]),
        ("offline", &["Offline map", "Cached work order", "Draft form", "Local search"]),
        ("notifications", &["Push notification", "Badge count", "Quiet hours", "Reminder"]),
        ("camera", &["Barcode scan", "Photo upload", "Signature capture", "Image compression"]),
        ("onboarding", &["Login screen", "Single sign-on", "Permission prompt", "Welcome tour"]),
        (
            "accessibility",
            &["Screen reader label", "Large text layout", "Focus order", "Contrast of the status chip"],
        ),
    ],
    conditions: &[
        "the device loses the network in the middle of an upload",
        "the app was in the background for more than a day",
        "the user has two accounts on one device",
        "the phone is set to Arabic",
        "the battery saver is on",
        "the clock of the device is wrong",
        "the form has more than forty fields",
        "the session expires while a form is open",
        "the tablet is rotated",
        "the work order was reassigned meanwhile",
        "the photo is larger than 20 MB",
    ],
    wishes: &[
        "Show which photos still wait for upload",
        "Let technicians reorder their stops",
        "Keep the last map area for offline use",
        "Add a dark theme for night shifts",
        "Open work orders from a scanned code",
        "Let dispatchers attach a voice note",
        "Warn before leaving a form with unsaved changes",
        "Support passkeys for login",
        "Translate the status texts to Portuguese",
    ],
    paths: &[
        "app/src/main/kotlin/sync/UploadQueue.kt",
        "app/src/main/kotlin/form/FormScreen.kt",
        "app/src/main/kotlin/map/OfflineMap.kt",
        "ios/Sources/Scan/ScanView.swift",
        "shared/src/auth/Session.kt",
    ],
};

const PROBLEMS: [&str; 9] = [
    "fails silently",
    "shows the wrong total",
    "is sent twice",
    "never finishes",
    "loses the last entry",
    "shows an outdated state",
    "answers with an internal error",
    "takes more than ten seconds",
    "ignores the setting",
];
const CHORES: [&str; 8] = [
    "Split the tests of {}",
    "Remove the old code path of {}",
    "Measure how long {} takes",
    "Document how {} works",
    "Move {} to the new job queue",
    "Make {} idempotent",
    "Add structured logs to {}",
    "Drop the feature flag of {}",
];
const REPLIES: [&str; 16] = [
    "I can reproduce this on staging. It does not happen on a fresh account.",
    "Could you add the request id of a failing call? Then I can look at the trace.",
    "This started with last week's release, I think. Bisecting now.",
    "Two more customers reported the same this morning, raising the priority.",
    "Not a regression: the behaviour has been like this since the first version.",
    "Let us take this into the next milestone, the fix is small but the migration is not.",
    "Talked to support: they have a workaround, so no hotfix needed.",
    "Found it. We compare local dates, and the job runs in UTC.",
    "I would rather fix the cause than add another retry here.",
    "Agreed. I will split this in two so that the first half can go out today.",
    "Verified on staging with the data of the original report. Works as expected now.",
    "Any news here? The customer asks for a date.",
    "Moved to the backlog until we know how many accounts are affected.",
    "The query over the last 30 days finds 214 accounts, see the attached sheet.",
    "Good catch, that assertion was never reached in the tests.",
    "Reopening: it came back with the new tariff.",
];
const REVIEW_NOTES: [&str; 10] = [
    "Should this be inside the transaction? Otherwise a crash between the two writes leaves it half done.",
    "Nit: the name says what it is, not what it is for.",
    "Can we have a test for the empty case?",
    "This allocates per row. Fine for now, but worth a comment.",
    "The error is swallowed here; please log it at least.",
    "I think the timeout must be shorter than the one of the caller.",
    "Nice, this is much easier to read than before.",
    "What happens when the list is longer than one page?",
    "Please keep the public name, the export job depends on it.",
    "Is this still needed after the migration?",
];

/// A sentence about the same thing in two forms: for an issue and for the change that resolves it.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub(super) area: usize,
    pub(super) kind: Kind,
    pub(super) title: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bug,
    Feature,
    Chore,
}

pub(super) fn pick<T: Copy>(rng: &mut SmallRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

pub(super) fn topic(rng: &mut SmallRng, product: &Product) -> Topic {
    let area = rng.random_range(0..product.areas.len());
    let thing = pick(rng, product.areas[area].1);
    let (kind, title) = match rng.random_range(0..100) {
        0..55 => {
            let (problem, condition) = (pick(rng, &PROBLEMS), pick(rng, product.conditions));
            (Kind::Bug, format!("{thing} {problem} when {condition}"))
        }
        55..78 => (Kind::Feature, pick(rng, product.wishes).to_owned()),
        _ => (Kind::Chore, pick(rng, &CHORES).replace("{}", &in_sentence(thing))),
    };
    Topic { area, kind, title }
}

/// The title of the pull request that resolves the topic.
pub(super) fn change_title(topic: &Topic) -> String {
    match topic.kind {
        Kind::Bug => format!("Fix: {}", in_sentence(&topic.title)),
        Kind::Feature | Kind::Chore => topic.title.clone(),
    }
}

/// The description of an issue.
pub(super) fn issue_body(rng: &mut SmallRng, topic: &Topic, product: &Product) -> String {
    let account = rng.random_range(0x1000_u32..0xffff);
    let condition = pick(rng, product.conditions);
    let build = format!("{}.{}.{}", rng.random_range(3..6), rng.random_range(0..20), rng.random_range(0..9));
    match topic.kind {
        Kind::Bug => format!(
            "**What happens**\r\n\r\n{}. Seen on account `acc_{account:x}`, version {build}.\r\n\r\n\
             **Steps to reproduce**\r\n\r\n1. Take an account where {condition}\r\n2. Run the job for the current period\r\n\
             3. Compare the result with the day before\r\n\r\n**Expected**\r\n\r\nThe numbers agree, or there is an error that says why not.\r\n\r\n\
             ```\r\nERROR area={} account=acc_{account:x} attempt={} took_ms={}\r\n```\r\n",
            topic.title,
            product.areas[topic.area].0,
            rng.random_range(1..5),
            rng.random_range(900..60_000),
        ),
        Kind::Feature => format!(
            "As of version {build} this takes a support ticket and about {} minutes of manual work.\r\n\r\n\
             ### Why now\r\n\r\n{} customers asked for it this quarter, most of them where {condition}.\r\n\r\n\
             ### Done when\r\n\r\n- [ ] works for new and existing accounts\r\n- [ ] covered by the help pages\r\n- [ ] can be switched off per tenant\r\n",
            rng.random_range(5..90),
            rng.random_range(3..60),
        ),
        Kind::Chore => format!(
            "Follow-up of the incident review. The code in `{}` grew around the old behaviour and is hard to change safely, \
             above all where {condition}.\r\n\r\nNo change for users. Estimated at {} days.\r\n",
            pick(rng, product.paths),
            rng.random_range(1..6),
        ),
    }
}

/// The description of a pull request.
pub(super) fn pull_body(rng: &mut SmallRng, topic: &Topic, product: &Product, closes: Option<u64>) -> String {
    let closes = closes.map_or_else(String::new, |number| format!("\r\nCloses #{number}\r\n"));
    format!(
        "## What\r\n\r\n{}.\r\n\r\n## How\r\n\r\nThe decision now happens in `{}` before anything is written, \
         so a repeated call finds the first one's result.\r\n\r\n## Tested\r\n\r\nUnit tests, and by hand where {}.\r\n{closes}",
        topic.title,
        pick(rng, product.paths),
        pick(rng, product.conditions),
    )
}

pub(super) fn reply(rng: &mut SmallRng) -> &'static str {
    pick(rng, &REPLIES)
}

pub(super) fn review_note(rng: &mut SmallRng) -> &'static str {
    pick(rng, &REVIEW_NOTES)
}

pub(super) fn path(rng: &mut SmallRng, product: &Product) -> &'static str {
    pick(rng, product.paths)
}

/// The title as the middle of a sentence: small first letter unless it is an abbreviation.
fn in_sentence(title: &str) -> String {
    let mut letters = title.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => title.to_owned(),
    }
}
