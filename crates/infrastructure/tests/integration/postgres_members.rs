//! People, memberships and invitations, on the real store.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test fails by it; statements of the tests' own making"
)]

use crate::support;

use std::sync::Arc;
use std::time::Duration;

use application::keys::{KeyService, KeySpec};
use application::members::{CreatedInvitation, MemberService};
use application::ports::{
    AccessStore, Identity, KeyStore, KnownUser, ListPage, MacPurpose, Member, MemberChange, MemberStore,
    Vault,
};
use application::{Ctx, Error};
use domain::{
    Allowed, ApiKey, Grant, InvitationId, KeyKind, Principal, ProjectKey, Role, Scope, Scopes, UserId,
};
use patchbay_infrastructure::clock::{SystemClock, SystemIds};
use patchbay_infrastructure::postgres::{PgAccess, PgMembers};
use patchbay_infrastructure::vault::PgVault;
use secrecy::ExposeSecret;
use support::TestDb;
use uuid::Uuid;

struct House {
    store: Arc<PgMembers>,
    access: Arc<PgAccess>,
    vault: Arc<PgVault>,
    members: MemberService,
}

async fn house(test: &TestDb) -> House {
    let access = Arc::new(PgAccess::new(test.db.clone(), test.audit()));
    let store = Arc::new(PgMembers::new(test.db.clone(), test.audit(), access.clone()));
    let vault = Arc::new(test.vault().await);
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let public = Some("https://patchbay.example/".parse().unwrap());
    let members = MemberService::new(store.clone(), vault.clone(), clock, ids, public);
    House { store, access, vault, members }
}

fn identity(subject: &str) -> Identity {
    Identity {
        issuer: "https://id.example".into(),
        subject: subject.into(),
        email: format!("{subject}@example.com"),
        email_verified: true,
        name: Some(subject.to_uppercase()),
    }
}

fn page() -> ListPage {
    ListPage { limit: 50, cursor: None }
}

impl House {
    async fn person(&self, subject: &str) -> KnownUser {
        let who = identity(subject);
        self.store.sign_in(&who).await.unwrap();
        self.store.memberships(&who.issuer, &who.subject).await.unwrap().expect("they signed in")
    }

    async fn join(&self, ctx: &Ctx, subject: &str, role: Role) -> UserId {
        let user = self.person(subject).await;
        let invited = self.members.invite(ctx, &user.email, role, None).await.unwrap();
        assert!(self.store.accept_invitation(ctx, invited.invitation.id, &user).await.unwrap());
        user.id
    }

    async fn invite(&self, ctx: &Ctx) -> CreatedInvitation {
        self.members.invite(ctx, "ada@example.com", Role::Viewer, None).await.unwrap()
    }

    async fn roles(&self, ctx: &Ctx) -> Vec<(UserId, Role)> {
        let members: Vec<Member> = self.members.list(ctx, &page()).await.unwrap().items;
        members.into_iter().map(|member| (member.user, member.role)).collect()
    }
}

fn acting(ctx: &Ctx, role: Role) -> Ctx {
    Ctx { scopes: role.scopes(), ..ctx.clone() }
}

#[tokio::test]
async fn a_person_is_the_same_at_every_sign_in_and_may_belong_to_several_tenants() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let house = house(&test).await;
    assert_eq!(house.store.memberships("https://id.example", "ada").await.unwrap(), None);
    let all = futures::future::join_all(
        (0..8).map(|_| async { house.store.sign_in(&identity("ada")).await.unwrap() }),
    )
    .await;
    assert!(all.iter().all(|id| *id == all[0]), "eight first sign-ins made several people: {all:?}");
    // The same subject of another issuer is somebody else.
    let elsewhere = Identity { issuer: "https://other.example".into(), ..identity("ada") };
    assert_ne!(house.store.sign_in(&elsewhere).await.unwrap(), all[0]);

    for (ctx, role) in [(&alpha, Role::Viewer), (&beta, Role::Admin)] {
        house.join(ctx, "ada", role).await;
    }
    let renamed =
        Identity { name: Some("Ada L.".into()), email: "ada@new.example".into(), ..identity("ada") };
    house.store.sign_in(&renamed).await.unwrap();
    let known = house.store.memberships_of(all[0]).await.unwrap().expect("known");
    let roles: Vec<_> = known.memberships.iter().map(|m| (m.tenant.slug.to_string(), m.role)).collect();
    assert_eq!(roles, [("alpha".to_owned(), Role::Viewer), ("beta".to_owned(), Role::Admin)]);
    assert_eq!((known.label(), known.email.as_str()), ("Ada L.", "ada@new.example"));
    let listed = house.members.list(&alpha, &page()).await.unwrap().items;
    assert_eq!((listed[0].name.as_deref(), listed[0].email.as_str()), (Some("Ada L."), "ada@new.example"));
    assert_eq!(listed[0].invited_by.as_deref(), Some("test"));
}

// Security requirement 32.
#[tokio::test]
async fn memberships_of_tenants_that_are_not_served_and_of_disabled_people_do_not_count() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let (here, there) = (house(&test).await, house(&test).await);
    let user = here.join(&alpha, "ada", Role::Owner).await;
    here.join(&beta, "ada", Role::Owner).await;
    let known = async || there.store.memberships("https://id.example", "ada").await.unwrap();
    assert_eq!(known().await.expect("known").memberships.len(), 2);
    let within = async |what: &str, statement: &'static str, wanted: Option<usize>| {
        sqlx::query(statement).execute(&mut test.admin().await).await.unwrap();
        let shown = async {
            while known().await.map(|user| user.memberships.len()) != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), shown)
            .await
            .unwrap_or_else(|_| panic!("{what}: not within 5 s"));
    };
    within("suspended", "update tenants set status = 'suspended' where slug = 'beta'", Some(1)).await;
    let invited = here.invite(&alpha).await;
    let mac = here.vault.mac(MacPurpose::Invitation, &invited.token);
    assert!(here.store.find_invitation(&mac).await.unwrap().is_some());
    within("all suspended", "update tenants set status = 'suspended'", Some(0)).await;
    assert!(here.store.find_invitation(&mac).await.unwrap().is_none());
    within("disabled", "update users set disabled_at = now()", None).await;
    assert_eq!(there.store.memberships_of(user).await.unwrap(), None);
}

#[tokio::test]
async fn an_invitation_is_found_by_its_token_and_accepted_once() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let house = house(&test).await;
    let ada = house.person("ada").await;
    let invited = house.invite(&alpha).await;
    let link = invited.link.as_ref().unwrap().expose_secret();
    assert_eq!(
        *link,
        format!("https://patchbay.example/auth/login?invitation={}", invited.token.expose_secret())
    );
    let mac = house.vault.mac(MacPurpose::Invitation, &invited.token);
    let (tenant, found) = house.store.find_invitation(&mac).await.unwrap().expect("it is found");
    assert_eq!((tenant.id, found.id, found.role), (alpha.tenant, invited.invitation.id, Role::Viewer));
    assert_eq!(house.store.find_invitation(&[0; 32]).await.unwrap(), None);

    // Of many at once, one; and another tenant cannot accept it.
    assert!(!house.store.accept_invitation(&beta, found.id, &ada).await.unwrap());
    let accepted = futures::future::join_all(
        (0..8).map(|_| async { house.store.accept_invitation(&alpha, found.id, &ada).await.unwrap() }),
    )
    .await;
    assert_eq!(accepted.iter().filter(|accepted| **accepted).count(), 1);
    assert_eq!(house.roles(&alpha).await, [(ada.id, Role::Viewer)]);

    // A second one for less does not take the greater role away.
    house.join(&alpha, "ada", Role::Admin).await;
    house.join(&alpha, "ada", Role::Viewer).await;
    assert_eq!(house.roles(&alpha).await, [(ada.id, Role::Admin)]);

    let over = house.invite(&alpha).await.invitation.id;
    sqlx::query("update invitations set expires_at = now() where id = $1")
        .bind(over.as_uuid())
        .execute(&mut test.admin().await)
        .await
        .unwrap();
    assert!(!house.store.accept_invitation(&alpha, over, &ada).await.unwrap());
    let revoked = house.invite(&alpha).await.invitation.id;
    // Security requirement 9.
    for unknown in [revoked, InvitationId::new(Uuid::now_v7())] {
        let refused = house.members.revoke_invitation(&beta, unknown).await;
        assert!(
            matches!(refused, Err(Error::NotFound { what }) if what == format!("an open invitation {unknown}"))
        );
    }
    house.members.revoke_invitation(&alpha, revoked).await.unwrap();
    assert!(!house.store.accept_invitation(&alpha, revoked, &ada).await.unwrap());
    assert!(house.members.list_invitations(&beta, &page()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn nobody_gives_a_role_above_their_own_or_changes_who_has_one() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let house = house(&test).await;
    let owner = house.join(&alpha, "owner", Role::Owner).await;
    let admin = house.join(&alpha, "admin", Role::Admin).await;
    let viewer = house.join(&alpha, "viewer", Role::Viewer).await;
    let acts = acting(&alpha, Role::Admin);
    for refused in [
        house.members.invite(&acts, "x@example.com", Role::Owner, None).await.map(drop),
        house.members.change_role(&acts, viewer, Role::Owner).await.map(drop),
        house.members.change_role(&acts, owner, Role::Viewer).await.map(drop),
        house.members.remove(&acts, owner).await,
    ] {
        assert!(matches!(refused, Err(Error::Exceeds { .. })), "{refused:?}");
    }
    house.members.change_role(&acts, viewer, Role::Admin).await.unwrap();
    house.members.remove(&acts, admin).await.unwrap();
    for role in [Role::Viewer, Role::Member] {
        let refused = house.members.change_role(&acting(&alpha, role), viewer, Role::Viewer).await;
        assert!(matches!(refused, Err(Error::Forbidden { needed: Scope::MembersWrite })), "{refused:?}");
    }
    // Members see everything, so who is narrowed makes none.
    let narrow: ProjectKey = "o/r".parse().unwrap();
    let grant = Grant { projects_read: Allowed::Only([narrow].into()), ..Grant::default() };
    let narrowed = Ctx { grant: Arc::new(grant), ..alpha.clone() };
    let refused = house.members.invite(&narrowed, "x@example.com", Role::Viewer, None).await.map(drop);
    assert!(matches!(refused, Err(Error::Exceeds { .. })), "{refused:?}");
    // Security requirement 9.
    for unknown in [owner, UserId::new(Uuid::now_v7())] {
        let expected = format!("the member {unknown}");
        let changed = house.members.change_role(&beta, unknown, Role::Viewer).await.map(drop);
        for refused in [changed, house.members.remove(&beta, unknown).await] {
            assert!(matches!(&refused, Err(Error::NotFound { what }) if *what == expected), "{refused:?}");
        }
    }
    for validity in [Duration::ZERO, Duration::from_secs(31 * 86_400)] {
        let refused = house.members.invite(&alpha, "x@example.com", Role::Viewer, Some(validity)).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn the_last_owner_stays_even_when_two_remove_each_other() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let house = house(&test).await;
    for round in 0..20 {
        let one = house.join(&alpha, &format!("one{round}"), Role::Owner).await;
        let two = house.join(&alpha, &format!("two{round}"), Role::Owner).await;
        let (a, b) = if round % 2 == 0 {
            tokio::join!(
                house.store.remove(&alpha, one, Role::Owner),
                house.store.change_role(&alpha, two, Role::Owner, Role::Viewer)
            )
        } else {
            tokio::join!(
                house.store.change_role(&alpha, two, Role::Owner, Role::Admin),
                house.store.change_role(&alpha, one, Role::Owner, Role::Viewer)
            )
        };
        let mut outcomes = [a.unwrap(), b.unwrap()];
        outcomes.sort_by_key(|change| *change == MemberChange::LastOwner);
        assert_eq!(outcomes, [MemberChange::Done, MemberChange::LastOwner], "round {round}");
        let owners: Vec<_> =
            house.roles(&alpha).await.into_iter().filter(|(_, role)| *role == Role::Owner).collect();
        assert_eq!(owners.len(), 1, "round {round}");
        let refused = house.members.remove(&alpha, owners[0].0).await;
        assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
        // Begin anew with nobody.
        sqlx::query("delete from memberships").execute(&mut test.admin().await).await.unwrap();
    }
}

#[tokio::test]
async fn what_somebody_handed_out_ends_when_they_may_no_longer_hand_it_out() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let house = house(&test).await;
    house.join(&alpha, "first", Role::Owner).await;
    let user = house.join(&alpha, "ada", Role::Owner).await;
    let person = Ctx { principal: Principal::User { id: user, name: "Ada".into() }, ..alpha.clone() };
    for role in [Role::Owner, Role::Admin, Role::Viewer] {
        house.members.invite(&person, "x@example.com", role, None).await.unwrap();
        house.members.invite(&alpha, "x@example.com", role, None).await.unwrap();
    }
    let open = async || {
        let listed = house.members.list_invitations(&alpha, &page()).await.unwrap().items;
        let open = listed.into_iter().filter(|one| one.revoked_at.is_none() && one.accepted_at.is_none());
        let mut theirs: Vec<Role> = open.filter(|one| one.invited_by == "Ada").map(|one| one.role).collect();
        theirs.sort();
        theirs
    };
    assert_eq!(open().await, [Role::Viewer, Role::Admin, Role::Owner]);
    house.members.change_role(&alpha, user, Role::Admin).await.unwrap();
    assert_eq!(open().await, [Role::Viewer, Role::Admin]);
    house.members.change_role(&alpha, user, Role::Member).await.unwrap();
    assert_eq!(open().await, []);
    house.members.change_role(&alpha, user, Role::Admin).await.unwrap();
    house.members.invite(&person, "x@example.com", Role::Viewer, None).await.unwrap();
    house.members.remove(&alpha, user).await.unwrap();
    assert_eq!(open().await, []);
    let all = house.members.list_invitations(&alpha, &page()).await.unwrap().items;
    let others = all.iter().filter(|one| one.invited_by == "test" && one.accepted_at.is_none());
    assert!(others.clone().count() == 3 && others.clone().all(|one| one.revoked_at.is_none()));
}

// Security requirement 32.
#[tokio::test]
async fn who_is_removed_loses_keys_and_sessions_with_the_membership() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let house = house(&test).await;
    let user = house.join(&alpha, "ada", Role::Admin).await;
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let keys =
        KeyService::new(house.access.clone(), house.store.clone(), house.vault.clone(), clock, ids, "test");
    let person = Ctx { principal: Principal::User { id: user, name: "Ada".into() }, ..alpha.clone() };
    let scopes = || Scopes::new([Scope::ItemsRead]).unwrap();
    let own = keys.create(&person, KeySpec::new("own", KeyKind::Person, scopes())).await.unwrap();
    let service = keys.create(&person, KeySpec::new("ci", KeyKind::Service, scopes())).await.unwrap();
    sqlx::query(
        "insert into sessions (tenant_id, id, user_id, mac, expires_at)
         values ($1, gen_random_uuid(), $2, $3, now() + interval '1 hour')",
    )
    .bind(alpha.tenant.as_uuid())
    .bind(user.as_uuid())
    .bind([1u8; 32].as_slice())
    .execute(&mut test.admin().await)
    .await
    .unwrap();
    house.members.remove(&alpha, user).await.unwrap();
    let public_id =
        |text: &secrecy::SecretString| ApiKey::parse(text.expose_secret()).unwrap().public_id().to_owned();
    assert!(house.access.find_key(&public_id(&own.text)).await.unwrap().is_none());
    assert!(
        house.access.find_key(&public_id(&service.text)).await.unwrap().is_some(),
        "a service's key stays"
    );
    let left: i64 = sqlx::query_scalar("select count(*) from sessions where revoked_at is null")
        .fetch_one(&mut test.admin().await)
        .await
        .unwrap();
    assert_eq!(left, 0);
    let ended = KeyStore::find(&*house.access, &alpha, own.key.id).await.unwrap().unwrap();
    assert_eq!(ended.revoked_by.as_deref(), Some("test"));
    // Security requirement 66: on the record with the change.
    let recorded: Vec<String> = sqlx::query_scalar("select action from audit_log order by seq")
        .fetch_all(&mut test.admin().await)
        .await
        .unwrap();
    assert_eq!(
        recorded,
        ["tenant.create", "invitation.create", "member.join", "key.create", "key.create", "member.remove"]
    );
}
