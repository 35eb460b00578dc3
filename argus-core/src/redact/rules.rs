//! What a secret looks like. The prefixes are those that their issuers document so that they can be found.

use std::sync::LazyLock;

use regex::{Regex, RegexSet, RegexSetBuilder};

/// Patterns in the order in which they are tried; what is secret is their group `secret`, or `double` or `single` in quotes.
pub(super) static RULES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = patterns();
    patterns
        .iter()
        .filter_map(|rule| Regex::new(rule).ok())
        .collect()
});

/// Which of [`RULES`] have something to do, in one pass.
pub(super) static ANY: LazyLock<Option<RegexSet>> = LazyLock::new(|| {
    RegexSetBuilder::new(patterns())
        .size_limit(1 << 26)
        .build()
        .ok()
});

fn patterns() -> Vec<String> {
    let issued = format!(r"\b(?P<secret>{})", ISSUED.join("|"));
    let names = NAMES.join("|");
    // In JSON, in JSON within a text, and as `name: value` or `name=value`.
    let named = format!(
        r#"(?i)(?:{names})\\?["'`]?\s*(?:=>|[:=])\s*(?:\\?"(?P<double>[^"\\\n]{{3,}})|'(?P<single>[^'\n]{{3,}})|(?P<secret>[^\s"'`,;&{{}}\[\]()<>\\]{{3,}}))"#
    );
    let flag = format!(
        r#"(?i)--?[a-z0-9-]{{0,40}}(?:{names})\s+(?:"(?P<double>[^"\n]{{3,}})|'(?P<single>[^'\n]{{3,}})|(?P<secret>[^\s"'`,;&\[(<-][^\s"'`,;&]{{2,}}))"#
    );
    let rules = [
        // PEM blocks, whole or cut
        r"(?P<secret>-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\z))",
        // JSON web tokens, signed or encrypted
        r"\b(?P<secret>eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){1,3})",
        // Headers
        r"(?i)\b(?:set-)?cookie2?:[ \t]*(?P<secret>[^\[\s][^\r\n]{2,})",
        r#"(?i)\b(?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:(?:bearer|basic|token|apikey|digest|negotiate)\s+)?(?P<secret>[^\s"',\[][^\s"',]{2,})"#,
        r"(?i)\b(?:bearer|basic)\s+(?P<secret>[A-Za-z0-9+/=._~-]{8,})",
        // A password in a URL, or a token in the place of both
        r"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@?#]{0,64}:(?P<secret>[^\s/\[][^\s/]{0,255})@",
        r"(?i)\b[a-z][a-z0-9+.-]{1,20}://(?P<secret>[A-Za-z0-9_-]{20,256})@",
        // What signs a link
        r"(?i)[?&](?:sig|signature|x-amz-signature|x-goog-signature|x-amz-security-token)=(?P<secret>[^\s&\[][^\s&]{2,})",
    ];
    let mut patterns: Vec<String> = rules.iter().map(ToString::to_string).collect();
    patterns.extend([issued, flag, named]);
    patterns
}

/// Words that stand where a value would, and are none.
pub(super) const NO_SECRETS: [&str; 32] = [
    "true",
    "false",
    "null",
    "nil",
    "none",
    "not",
    "unset",
    "undefined",
    "empty",
    "missing",
    "invalid",
    "expired",
    "required",
    "optional",
    "unknown",
    "wrong",
    "incorrect",
    "rejected",
    "denied",
    "failed",
    "error",
    "unauthorized",
    "forbidden",
    "string",
    "yes",
    "secret",
    "bearer",
    "basic",
    "token",
    "apikey",
    "digest",
    "negotiate",
];

/// What issuers put before their keys, with how long these are.
const ISSUED: [&str; 40] = [
    // GitHub, GitLab, Bitbucket
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_[A-Za-z0-9_]{20,}",
    r"gl(?:pat|dt|ptt|rt|soat|ft|imt|agent|oas|cbt)-[0-9A-Za-z_.=-]{16,}",
    r"ATBB[A-Za-z0-9]{24,}",
    r"ATATT3[A-Za-z0-9_=-]{20,}",
    // Slack, Discord, Telegram
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"xapp-\d-[A-Za-z0-9-]{10,}",
    r"\d{8,10}:AA[A-Za-z0-9_-]{32,}",
    // Models
    r"sk-[A-Za-z0-9_-]{16,}",
    r"hf_[A-Za-z0-9]{30,}",
    r"gsk_[A-Za-z0-9]{30,}",
    r"r8_[A-Za-z0-9]{30,}",
    r"xai-[A-Za-z0-9]{60,}",
    // Clouds
    r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    r"AIza[0-9A-Za-z_-]{30,}",
    r"ya29\.[0-9A-Za-z_-]{20,}",
    r"GOCSPX-[0-9A-Za-z_-]{20,}",
    r"do[opr]_v1_[a-f0-9]{40,}",
    r"dapi[a-f0-9]{32}",
    r"LTAI[A-Za-z0-9]{16,}",
    // Payments and shops
    r"(?:sk|rk|pk)_(?:live|test|prod)_[A-Za-z0-9]{10,}",
    r"whsec_[A-Za-z0-9+/=]{20,}",
    r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}",
    r"sq0(?:atp|csp)-[0-9A-Za-z_-]{20,}",
    r"EAAA[A-Za-z0-9_-]{56,}",
    // Mail and messages
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    r"key-[a-f0-9]{32}",
    r"SK[a-f0-9]{32}",
    // Packages and images
    r"npm_[A-Za-z0-9]{30,}",
    r"pypi-[A-Za-z0-9_-]{50,}",
    r"rubygems_[a-f0-9]{40,}",
    r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}",
    r"(?:cio|oy2)[A-Za-z0-9]{32,}",
    // Operations
    r"hv[sbr]\.[A-Za-z0-9_-]{20,}",
    r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{40,}",
    r"gl(?:c|sa)_[A-Za-z0-9+/=_]{30,}",
    r"sntry[su]_[A-Za-z0-9+/=_]{30,}",
    r"NR(?:AK|RA|II)-[A-Z0-9a-z]{20,}",
    r"(?:lin_api|pscale_tkn|pscale_pw|pul|dp\.(?:pt|st|ct))[_-]?[A-Za-z0-9_.-]{30,}",
    r"AGE-SECRET-KEY-1[0-9A-Z]{50,}",
];

/// The last words of names whose values are secrets.
const NAMES: [&str; 10] = [
    r"password|passwd|passphrase|passcode|pwd|(?:\b|_|-)pass",
    "secret",
    "token",
    "api[_-]?key",
    "(?:access|account|private|secret|signing|encryption|shared|master|session|license|storage|service|consumer|webhook|hmac|ssh|rsa|aes|jwt|app|auth|client)[_-]?key",
    "credentials?|creds",
    "cookie",
    r"(?:\b|_|-)auth",
    "connection[_-]?string|sas[_-]?url",
    "dockerconfigjson|dockercfg|session[_-]?id",
];
