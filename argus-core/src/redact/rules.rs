//! What a secret looks like. The prefixes are those that their issuers document so that they can be found.

use std::sync::LazyLock;

use regex::{Regex, RegexSet, RegexSetBuilder};

/// Patterns in the order in which they are tried; what is secret is their group `secret`, or `double` or `single` in quotes, or
/// begins at their group `value`.
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
    let issued = format!(r"(?i-u:\b(?P<secret>{}))", ISSUED.join("|"));
    let names = NAMES.join("|");
    // As `name: value` and `name=value` of any language, with a type between them, in JSON, in JSON within a text, and in XML.
    let assigned = r"(?:(?:[ \t]+string)?[ \t]*(?:=>|[:?.+]{1,3}=|[=:]|%3[ad])[ \t]*|>)";
    let named = format!(r#"(?i)(?:{names})\\*["'`]?{assigned}(?P<value>)"#);
    // A value in a line of its own, without a name or an element of XML around it.
    let below = format!(
        r#"(?i)(?:{names})["'`]?[ \t]*[=:][ \t]*\n\s*["'`]?(?P<secret>[^\s"'`,;:&{{}}\[\]()<>\\]{{3,}})["'`]?[ \t]*(?:\n|\z)"#
    );
    let element = format!(r"(?i)(?:{names})>[ \t]*\n\s*(?P<secret>[^\s<]{{3,}})");
    let argument = format!(
        r#"(?i)\(\s*["'][^"'\n]{{0,60}}(?:{names})["']\s*,\s*(?:"(?P<double>(?:[^"\\\n]|\\.)+)|'(?P<single>[^'\n]+))"#
    );
    let flag = format!(
        r#"(?i)(?:^|[\s"'`(\[=,])--?[a-z0-9-]{{0,40}}(?:{names})\s+(?P<value>)[^\s\[(<>&|-]"#
    );
    let rules = [
        // PEM blocks, whole or cut
        r"(?i)(?P<secret>-----BEGIN[ A-Z0-9_-]{0,100}PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END[ A-Z0-9_-]{0,100}PRIVATE KEY(?: BLOCK)?-----|\z))",
        // JSON web tokens, signed or encrypted, and once more in base64
        r"\b(?P<secret>ey[A-Za-z0-9_-]{9,}\.(?:ey)?[A-Za-z0-9_/\\-]*(?:\.[A-Za-z0-9_/\\-]*){1,3}=*)",
        r"\b(?P<secret>ZXlK[A-Za-z0-9/+_-]{40,}=*)",
        // Headers
        r"(?i)\b(?:set-)?cookie2?:[ \t]*(?P<secret>[^\[\s][^\r\n]{2,})",
        r#"(?i)\b(?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:(?:bearer|basic|token|apikey|digest|negotiate)\s+)?(?P<secret>[^\s"',\[][^\s"',]{2,})"#,
        r"(?i)\b(?:bearer|basic)\s+(?P<secret>[A-Za-z0-9+/=._~-]{8,})",
        r#"(?i)(?:-H|--header)[= \t]["']?[a-z-]{0,30}(?:key|token):\s*(?P<secret>[^\s"']{3,})"#,
        // A password in a URL, or a token in the place of both, or after curl's --user
        r#"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@?#"'`<>]*:(?P<secret>[^\s/"'`<>\[][^\s/"'`<>]*)@"#,
        // Also with a slash in it, if it is no port with a path
        r#"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@?#"'`<>]*:(?P<secret>(?:[^\s/"'`<>\[]*[^\s/"'`<>\[0-9][^\s/"'`<>]*)?/[^\s"'`<>@]*)@"#,
        r"(?i)\b[a-z][a-z0-9+.-]{1,20}://(?P<secret>[A-Za-z0-9_-]{20,256})@",
        r#"\bcurl\b[^\r\n]{0,400}[ \t](?:-u|--user)[= \t]{1,5}(?:"(?P<double>[^"\n]{3,})"|'(?P<single>[^'\n]{3,})'|(?P<secret>[^\s"'\[][^\s"':]*:[^\s"']{3,}))"#,
        // What signs a link, and links that are a secret as a whole
        r"(?i)[?&](?:sig|signature|x-amz-signature|x-goog-signature|x-amz-security-token)=(?P<secret>[^\s&\[][^\s&]{2,})",
        r#"(?i)\bhttps://(?P<secret>[a-z0-9-]+\.webhook\.office\.com/[^\s"'\[]{20,}|hooks\.slack\.com/[^\s"'\[]{20,}|discord(?:app)?\.com/api/webhooks/[^\s"'\[]{20,})"#,
    ];
    let mut patterns: Vec<String> = rules.iter().map(ToString::to_string).collect();
    patterns.extend([issued, argument, flag, below, element, named]);
    patterns
}

/// The end of a name whose value is a secret.
pub(super) static SECRET_NAME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!(r"(?i)(?:{})\s*$", NAMES.join("|"))).ok());

/// What any secret by its name or by its object has in it: a text without has none of them.
pub(super) static SAYS_SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let names = NAMES.join("|");
    Regex::new(&format!(
        r"(?i)(?:{names}|\bdata\b|stringdata|last-applied-configuration|/env/)"
    ))
    .ok()
});

/// Whether a name says that its value is a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let names = SECRET_NAME.as_ref();
    names.is_some_and(|names| names.is_match(name)) && !is_reference_name(name)
}

/// Whether a name ends like that of a secret and is one of an object that holds it.
pub(super) fn is_reference_name(name: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let lower: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    lower.ends_with("existingsecret") || lower.ends_with("pullsecret")
}

/// The annotation in which kubectl keeps the whole object once more.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Words that stand where a value would, and are none.
pub(super) const NO_SECRETS: [&str; 55] = [
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
    "password",
    "credentials",
    "no",
    "ok",
    "on",
    "off",
    "n/a",
    "a",
    "an",
    "the",
    "and",
    "or",
    "is",
    "was",
    "has",
    "to",
    "in",
    "of",
    "for",
    "from",
    "with",
    "if",
    "it",
];

/// What issuers put before their keys, with how long these are; in any case of letters, as people write them so too.
const ISSUED: [&str; 75] = [
    // GitHub, GitLab, Bitbucket, Atlassian
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_[A-Za-z0-9_]{20,}",
    r"gl(?:pat|dt|ptt|rt|soat|ft|ffct|imt|agent|oas|cbt)-[0-9A-Za-z_.=-]{16,}",
    r"GR1348941[A-Za-z0-9_-]{20}",
    r"_gitlab_session=[0-9a-z]{32}",
    r"ATBB[A-Za-z0-9]{24,}",
    r"ATATT3[A-Za-z0-9_=-]{20,}",
    // Slack, Discord, Telegram
    r"xox[abeoprs][.-][A-Za-z0-9.-]{10,}",
    r"xapp-\d-[A-Za-z0-9-]{10,}",
    r"\d{5,16}:AA?[A-Za-z0-9_-]{32,}",
    // Models
    r"(?:sk|pplx)-[A-Za-z0-9_-]{16,}",
    r"(?:hf|api_org|gsk|r8)_[A-Za-z0-9]{30,}",
    r"xai-[A-Za-z0-9]{60,}",
    // Clouds
    r"(?-i:(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b)",
    r"ABSK[A-Za-z0-9+/]{60,}=*",
    r"bedrock-api-key-[A-Za-z0-9+/=_-]{20,}",
    r"AIza[0-9A-Za-z_-]{30,}",
    r"ya29\.[0-9A-Za-z_-]{20,}",
    r"GOCSPX-[0-9A-Za-z_-]{20,}",
    r"do[opr]_v1_[a-f0-9]{40,}",
    r"dapi[a-f0-9]{32}",
    r"LTAI[A-Za-z0-9]{16,}",
    r"[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}",
    r"v1\.0-[a-f0-9]{24}-[a-f0-9]{100,}",
    r"HRKU-AA[0-9A-Za-z_-]{50,}",
    r"(?:fo1_[A-Za-z0-9_-]{43}|fm(?:1[ar]|2)_[A-Za-z0-9+/]{100,}=*)",
    r"tk-us-[A-Za-z0-9_-]{40,}",
    r"t1\.[A-Z0-9_-]+=*\.[A-Z0-9_-]{80,}=*",
    // Payments and shops
    r"(?:sk|rk|pk|shippo|duffel)_(?:live|test|prod)_[A-Za-z0-9_=-]{10,}",
    r"FLW(?:PUB|SEC)K_TEST-[A-Za-z0-9-]{12,}",
    r"whsec_[A-Za-z0-9+/=]{20,}",
    r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}",
    r"sq0(?:atp|csp)-[0-9A-Za-z_-]{20,}",
    r"EAAA[A-Za-z0-9_-]{22,}",
    r"EAA[MC][A-Za-z0-9]{100,}",
    r"EZ[AT]K[A-Za-z0-9]{54}",
    r"p8e-[a-z0-9]{32}",
    r"fio-u-[a-z0-9_=-]{60,}",
    // Mail and messages
    r"SG\.[A-Za-z0-9=_.-]{40,}",
    r"(?:pub)?key-[a-f0-9]{32}",
    r"SK[a-f0-9]{32}",
    r"xkeysib-[a-f0-9]{64}-[a-z0-9]{16}",
    // Packages and images
    r"npm_[A-Za-z0-9]{30,}",
    r"pypi-[A-Za-z0-9_-]{50,}",
    r"rubygems_[a-f0-9]{40,}",
    r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}",
    r"(?:cio|oy2)[A-Za-z0-9]{32,}",
    r"CLOJARS_[a-z0-9]{60}",
    r"(?-i:AKCp[A-Za-z0-9]{69}|cmVmd[A-Za-z0-9]{59})",
    // Operations
    r"hv[sbr]\.[A-Za-z0-9_-]{20,}",
    r"s\.[A-Za-z0-9]{24}\b",
    r"sha256~[A-Za-z0-9_-]{43}",
    r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{40,}",
    r"gl(?:c|sa)_[A-Za-z0-9+/=_]{30,}",
    r"eyJrIjoi[A-Za-z0-9]{60,}=*",
    r"sntry[su]_[A-Za-z0-9+/=_]{30,}",
    r"NR(?:AK|RA|II|JS)-[A-Z0-9a-z-]{19,}",
    r"(?:lin_api|pscale_(?:tkn|pw|oauth)|pul|dp\.(?:pt|st|ct))[_.-]?[A-Za-z0-9_.=-]{30,}",
    r"dt0c01\.[a-z0-9]{24}\.[a-z0-9]{64}",
    r"(?:pat|sat)\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}",
    r"ico-[A-Za-z0-9]{32}",
    r"API-[A-Z0-9]{26}\b",
    r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}",
    r"pnu_[A-Za-z0-9]{36}",
    r"sgp_(?:[a-f0-9]{16}_|local_)?[a-f0-9]{40}",
    r"4b1d[A-Za-z0-9]{38}\b",
    r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk",
    r"sm_[aps]at_[A-Za-z0-9]{16}",
    // People
    r"AGE-SECRET-KEY-1[0-9A-Z]{50,}",
    r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}",
    r"ops_eyJ[A-Za-z0-9+/]{100,}=*",
    r"(?:sc|ext|scauth|authress)_[a-z0-9]{5,30}\.[a-z0-9]{4,6}\.acc[_-][a-z0-9-]{10,32}\.[a-z0-9+/_=-]{30,}",
    r"ntn_[0-9]{11}[A-Za-z0-9]{35}",
    r"rdme_[a-z0-9]{70}",
    r"s-s4t2(?:ud|af)-[a-f0-9]{64}",
];

/// The last words of names whose values are secrets.
const NAMES: [&str; 10] = [
    r"passwords?|passwd|passphrase|passcode|pwd|(?:\b|_|-)pass",
    "secret",
    "token",
    "api[_-]?key",
    "(?:access|account|private|secret|signing|encryption|shared|master|session|license|storage|service|consumer|webhook|hmac|ssh|rsa|aes|jwt|app|auth|client)[_-]?key",
    "credentials?|creds",
    "cookie",
    r"(?:\b|_|-)auth",
    "connection[_-]?string|sas[_-]?url",
    "dockerconfigjson|dockercfg|session[_-]?id|contribsys__com",
];
