//! Every way of being wrong that we know of.

use super::*;

// Security requirement 25.
#[tokio::test]
async fn every_wrong_token_is_refused_with_a_challenge() {
    let world = World::new().await;
    let good = world.token(&json!({}));
    assert_eq!(world.status(&good).await, 200);
    let claims = world.claims();
    let now = moment().timestamp();
    let [head, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let headed = |changes: Value, key: &Pair| {
        let head = changed(json!({"typ": "at+jwt", "alg": "RS256", "kid": "rsa"}), &changes);
        signed(&head, &claims, key)
    };
    let unsigned =
        |alg: &str| format!("{}.{payload}.", encoded(&json!({"typ": "at+jwt", "alg": alg, "kid": "rsa"})));
    let hmac = |kid: &str, secret: &[u8]| {
        let head = encoded(&json!({"typ": "at+jwt", "alg": "HS256", "kid": kid}));
        signed_text(&format!("{head}.{payload}"), &EncodingKey::from_secret(secret), Algorithm::HS256)
    };
    let raw = |payload: &str| {
        signed_text(&format!("{head}.{}", URL_SAFE_NO_PAD.encode(payload)), &RSA.private, Algorithm::RS256)
    };
    let modulus = URL_SAFE_NO_PAD.decode(RSA.public["n"].as_str().unwrap()).unwrap();
    let text = claims.to_string();
    let twice = format!("{},\"sub\":\"bob\"}}", text.trim_end_matches('}'));
    let mut tokens: Vec<(String, String)> = vec![
        ("no token at all but two dots", "..".to_owned()),
        ("one part", "abc".to_owned()),
        ("two parts", format!("{head}.{payload}")),
        ("no signature", format!("{head}.{payload}.")),
        ("four parts", format!("{good}.x")),
        ("five parts, as an encrypted token has", format!("{head}.x.{payload}.y.{signature}")),
        ("padding", format!("{head}=.{payload}.{signature}")),
        ("a character outside of base64url", format!("{head}.{payload}+.{signature}")),
        ("a cut signature", format!("{head}.{payload}.{}", &signature[..signature.len() - 4])),
        ("a changed signature", format!("{head}.{payload}.{}AAAA", &signature[..signature.len() - 4])),
        ("other claims under the signature", {
            let other = changed(claims.clone(), &json!({"sub": "bob"}));
            format!("{head}.{}.{signature}", encoded(&other))
        }),
        ("algorithm none", unsigned("none")),
        ("algorithm None", unsigned("None")),
        ("algorithm nOnE", unsigned("nOnE")),
        (
            "no algorithm",
            format!("{}.{payload}.{signature}", encoded(&json!({"typ": "at+jwt", "kid": "rsa"}))),
        ),
        ("HS256 with the public key as secret", hmac("rsa", &modulus)),
        (
            "HS256 with the published text as secret",
            hmac("rsa", RSA.public["n"].as_str().unwrap().as_bytes()),
        ),
        ("HS256 with a secret that is published", hmac("secret", b"secret-secret-secret-secret")),
        ("another key under a known id", headed(json!({}), &OTHER_RSA)),
        ("an unknown key id", headed(json!({"kid": "unknown"}), &RSA)),
        ("no key id", headed(json!({"kid": null}), &RSA)),
        ("an empty key id", headed(json!({"kid": ""}), &RSA)),
        ("a key id that is a path", headed(json!({"kid": "../../../dev/null"}), &RSA)),
        ("a key id that is SQL", headed(json!({"kid": "' or 1=1 --"}), &RSA)),
        ("a key that is too small", headed(json!({"kid": "small"}), &SMALL_RSA)),
        ("a key for encryption", headed(json!({"kid": "for-encryption"}), &RSA)),
        ("a key for another algorithm", headed(json!({"kid": "only-384"}), &RSA)),
        ("a key of another kind", headed(json!({"alg": "ES256"}), &EC)),
        ("a curve's key with an RSA algorithm", headed(json!({"kid": "ec"}), &RSA)),
        ("a key that it brings along", headed(json!({"kid": "mine", "jwk": OTHER_RSA.public}), &OTHER_RSA)),
        ("a key that it brings along, by a known id", headed(json!({"jwk": OTHER_RSA.public}), &OTHER_RSA)),
        ("an address to get the key from", headed(json!({"jku": "https://evil.example/jwks"}), &OTHER_RSA)),
        ("a critical extension", headed(json!({"crit": ["exp"]}), &RSA)),
        ("an unencoded payload", headed(json!({"b64": false}), &RSA)),
        ("a compressed payload", headed(json!({"zip": "DEF"}), &RSA)),
        ("no type", headed(json!({"typ": null}), &RSA)),
        ("the type of a logout token", headed(json!({"typ": "logout+jwt"}), &RSA)),
        ("the type of an ID-JAG", headed(json!({"typ": "oauth-id-jag+jwt"}), &RSA)),
        ("the type of a DPoP proof", headed(json!({"typ": "dpop+jwt"}), &RSA)),
        ("no JSON as head", format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode("x"))),
        ("no JSON as payload", raw("x")),
        ("a list as payload", raw("[]")),
        ("a claim given twice", raw(&twice)),
        ("an endless expiry", raw(&text.replace(&format!("\"exp\":{}", now + 300), "\"exp\":1e999"))),
        ("too long", format!("{good}{}", "A".repeat(13_000))),
    ]
    .into_iter()
    .map(|(what, token)| (what.to_owned(), token))
    .collect();
    let long = "x".repeat(300);
    for changes in [
        json!({"iss": null}),
        json!({"iss": "https://evil.example"}),
        json!({"iss": format!("{}/", world.issuer.url)}),
        json!({"iss": world.issuer.url.to_uppercase()}),
        json!({"iss": [world.issuer.url]}),
        json!({"aud": null}),
        json!({"aud": "https://mcp.example"}),
        json!({"aud": "https://mcp.example/mcp/"}),
        json!({"aud": "https://mcp.example/MCP"}),
        json!({"aud": "http://mcp.example/mcp"}),
        json!({"aud": "https://mcp.example:8443/mcp"}),
        json!({"aud": "https://mcp.example/mcp2"}),
        json!({"aud": "https://mcp.example.evil.example/mcp"}),
        json!({"aud": "https://patchbay.example/api/v1"}),
        json!({"aud": "a client"}),
        json!({"aud": []}),
        json!({"aud": ["https://other.example"]}),
        json!({"aud": [[RESOURCE]]}),
        json!({"aud": 1}),
        json!({"exp": null}),
        json!({"exp": now - 60}),
        json!({"exp": now - 3_600}),
        json!({"exp": -1}),
        json!({"exp": (now + 300).to_string()}),
        json!({"nbf": now + 61}),
        json!({"nbf": "soon"}),
        json!({"iat": now + 61}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": long}),
        json!({"sub": "ali\u{0}ce"}),
        json!({"nonce": "n"}),
        json!({"at_hash": "h"}),
        json!({"c_hash": "h"}),
        json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        json!({"cnf": {"jkt": "thumbprint"}}),
    ] {
        tokens.push((changes.to_string(), world.token(&changes)));
    }
    assert!(tokens.len() >= 80, "{}", tokens.len());
    for (what, token) in &tokens {
        let (response, problem) = world.present(token).await;
        assert_eq!(response.status(), 401, "{what}: {problem}");
        let challenge = response.headers()["www-authenticate"].to_str().unwrap();
        assert_eq!(
            challenge,
            "Bearer error=\"invalid_token\", scope=\"mcp:sql\", \
             resource_metadata=\"https://mcp.example/.well-known/oauth-protected-resource/mcp\"",
            "{what}"
        );
        assert!(!problem.to_string().contains("alice"), "{what}: {problem}");
        let part = &token[..token.len().min(40)];
        assert!(
            token.len() < 10 || !problem.to_string().contains(part),
            "{what}: the answer repeats the token"
        );
    }
    assert_eq!(world.status(&good).await, 200, "the good one still passes");
    let asked = world.issuer.asked.load(Ordering::Relaxed);
    assert!(asked <= 2, "made-up key ids made us ask the issuer {asked} times");
}
