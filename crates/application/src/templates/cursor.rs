//! Where a caller goes on in a template's rows: opaque, signed, and good for one tenant, template, version and question.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::Invalid;
use domain::template::{Argument, KeyValue, MAX_CURSOR, Template};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::Ctx;
use crate::ports::{MacPurpose, Vault};

/// The form of what follows. Cursors of another form are refused.
const FORM: u8 = 1;
/// How long one can be used. Long enough for an assistant that comes back the next day.
const LASTS: TimeDelta = TimeDelta::hours(24);
const MAC: usize = 32;
const EXPIRY: usize = 8;

/// Makes and reads cursors: the form, when it expires, the values of the page key, and an HMAC over these and all that
/// they belong to.
///
/// The values are those of a row the caller has been given. The HMAC is there so that nobody makes up values, or takes
/// them into another tenant's rows or another question.
pub(super) struct Cursors {
    vault: Arc<dyn Vault>,
}

impl Cursors {
    pub(super) fn new(vault: Arc<dyn Vault>) -> Self {
        Self { vault }
    }

    /// `None` when the values are too long to be carried about.
    pub(super) fn seal(
        &self,
        ctx: &Ctx,
        template: &Template,
        arguments: &[Argument],
        position: &[KeyValue],
        now: DateTime<Utc>,
    ) -> Option<String> {
        let values = serde_json::to_vec(position).ok()?;
        let mut bytes = vec![FORM];
        bytes.extend((now + LASTS).timestamp().to_be_bytes());
        bytes.extend(values);
        bytes.extend(self.mac(ctx, template, arguments, &bytes));
        Some(URL_SAFE_NO_PAD.encode(bytes)).filter(|text| text.len() <= MAX_CURSOR)
    }

    /// The same words whatever is wrong with it, so that trying teaches nothing.
    pub(super) fn open(
        &self,
        ctx: &Ctx,
        template: &Template,
        arguments: &[Argument],
        cursor: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<KeyValue>, Invalid> {
        self.read(ctx, template, arguments, cursor, now).ok_or_else(|| {
            Invalid::one(
                "/cursor",
                "is not of this template and these arguments, or has expired: start again without it",
            )
        })
    }

    fn read(
        &self,
        ctx: &Ctx,
        template: &Template,
        arguments: &[Argument],
        cursor: &str,
        now: DateTime<Utc>,
    ) -> Option<Vec<KeyValue>> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (signed, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        let expected = self.mac(ctx, template, arguments, signed);
        // In constant time: all bytes are looked at, whichever differ.
        if expected.iter().zip(mac).fold(0, |differences, (a, b)| differences | (a ^ b)) != 0 {
            return None;
        }
        let (form, rest) = signed.split_first()?;
        let (expires, values) = rest.split_at_checked(EXPIRY)?;
        let expires = i64::from_be_bytes(expires.try_into().ok()?);
        if *form != FORM || expires <= now.timestamp() {
            return None;
        }
        let keys = template.page.as_ref()?.keys.len();
        serde_json::from_slice(values).ok().filter(|values: &Vec<KeyValue>| values.len() == keys)
    }

    fn mac(&self, ctx: &Ctx, template: &Template, arguments: &[Argument], signed: &[u8]) -> [u8; MAC] {
        let mut digest = Sha256::new();
        let tenant = ctx.tenant.to_string();
        // Debug tells apart type, null and value, and quotes texts.
        let arguments = format!("{arguments:?}");
        for part in [
            tenant.as_bytes(),
            template.name.as_bytes(),
            template.version.as_bytes(),
            arguments.as_bytes(),
            signed,
        ] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        let digest = URL_SAFE_NO_PAD.encode(digest.finalize());
        self.vault.mac(MacPurpose::TemplateCursor, &SecretString::from(digest))
    }
}

#[cfg(test)]
mod tests {
    use domain::template::KeyType;
    use domain::{RequestId, TenantId};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{Memory, built_in_templates, moment};

    fn ctx(tenant: u128) -> Ctx {
        Ctx::system(TenantId::new(Uuid::from_u128(tenant)), "test", RequestId::new(Uuid::nil()))
    }

    fn template() -> Template {
        (**built_in_templates().iter().find(|template| template.page.is_some()).unwrap()).clone()
    }

    fn position() -> Vec<KeyValue> {
        vec![
            KeyValue { kind: KeyType::Timestamp, text: None },
            KeyValue { kind: KeyType::Text, text: Some("é\0\"".into()) },
        ]
    }

    #[test]
    fn a_cursor_is_good_for_its_tenant_template_version_and_arguments_and_for_a_day() {
        let cursors = Cursors::new(Memory::new());
        let (mine, other) = (ctx(1), ctx(2));
        let arguments = [Argument::Text(Some("a".into())), Argument::Integer(None)];
        let sealed = cursors.seal(&mine, &template(), &arguments, &position(), moment()).unwrap();
        let open = |ctx: &Ctx, template: &Template, arguments: &[Argument], later: TimeDelta| {
            cursors.open(ctx, template, arguments, &sealed, moment() + later)
        };
        let day = TimeDelta::hours(24);
        assert_eq!(open(&mine, &template(), &arguments, day - TimeDelta::seconds(1)).unwrap(), position());
        let renamed = Template { name: "x".into(), ..template() };
        let changed = Template { version: "x".into(), ..template() };
        let refused = [
            open(&other, &template(), &arguments, TimeDelta::zero()),
            open(&mine, &renamed, &arguments, TimeDelta::zero()),
            open(&mine, &changed, &arguments, TimeDelta::zero()),
            open(&mine, &template(), &arguments[..1], TimeDelta::zero()),
            open(&mine, &template(), &[arguments[0].clone(), Argument::Boolean(None)], TimeDelta::zero()),
            open(&mine, &template(), &arguments, day),
        ];
        for refusal in refused {
            let said = refusal.unwrap_err().errors[0].message.clone();
            assert!(said.contains("start again"), "{said}");
        }
    }

    #[test]
    fn what_is_too_long_to_carry_has_no_cursor() {
        let cursors = Cursors::new(Memory::new());
        let long = KeyValue { kind: KeyType::Text, text: Some("x".repeat(MAX_CURSOR)) };
        assert_eq!(cursors.seal(&ctx(1), &template(), &[], &[long], moment()), None);
    }

    proptest! {
        #[test]
        fn a_cursor_that_was_changed_or_made_up_is_refused(at in 0usize..200, with in "[A-Za-z0-9_-]", made_up in ".{0,80}") {
            let cursors = Cursors::new(Memory::new());
            let open = |text: &str| cursors.open(&ctx(1), &template(), &[], text, moment());
            prop_assert!(open(&made_up).is_err());
            let sealed = cursors.seal(&ctx(1), &template(), &[], &position(), moment()).unwrap();
            let at = at % sealed.len();
            let mut changed = sealed.clone();
            changed.replace_range(at..=at, &with);
            prop_assert_eq!(open(&changed).is_ok(), changed == sealed);
            prop_assert!(open(&sealed[..at]).is_err());
        }
    }
}
