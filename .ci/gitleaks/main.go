// Command gitleaks makes up secrets of every kind that the rules of gitleaks know, and says what of a text they would still find.
//
//	gitleaks samples N    N secrets for each rule, each in the texts it may stand in, as JSON lines {"rule", "text", "secret"}
//	gitleaks check        reads texts as JSON lines {"text"} and writes for each the rules that find something in it
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
	"sort"
	"strconv"
	"strings"
	"unicode"

	"github.com/lucasjones/reggen"
	"github.com/rs/zerolog"
	"github.com/zricethezav/gitleaks/v8/cmd/generate/config/utils"
	"github.com/zricethezav/gitleaks/v8/detect"
)

// The longest repetition that is made up.
const longest = 40

type sample struct {
	Rule   string `json:"rule"`
	Text   string `json:"text"`
	Secret string `json:"secret"`
}

func main() {
	zerolog.SetGlobalLevel(zerolog.ErrorLevel)
	detector, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		log.Fatal(err)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	switch {
	case len(os.Args) == 3 && os.Args[1] == "samples":
		wanted, err := strconv.Atoi(os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		samples(detector, wanted, out)
	case len(os.Args) == 2 && os.Args[1] == "check":
		check(detector, out)
	default:
		log.Fatal("usage: gitleaks samples N | check")
	}
}

func samples(detector *detect.Detector, wanted int, out *json.Encoder) {
	var ids []string
	for id, rule := range detector.Config.Rules {
		if rule.Regex != nil {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	for number, id := range ids {
		rule := detector.Config.Rules[id]
		generator, err := reggen.NewGenerator(rule.Regex.String())
		if err != nil {
			log.Fatal(id, ": ", err)
		}
		generator.SetSeed(int64(number))
		// Some of what a rule's pattern takes is left out by its entropy or its list of words.
		for made, tried := 0, 0; made < wanted && tried < 200*wanted; tried++ {
			secret := secretIn(detector, id, generator.Generate(longest))
			texts := []string{secret, "login failed for " + secret + " at 10.0.0.7"}
			if len(rule.Keywords) > 0 {
				texts = append(texts, utils.GenerateSampleSecrets(rule.Keywords[0], secret)...)
			}
			written := false
			for _, text := range texts {
				if secret == "" || secretIn(detector, id, text) != secret {
					continue
				}
				if err := out.Encode(sample{id, text, secret}); err != nil {
					log.Fatal(err)
				}
				written = true
			}
			if written {
				made++
			}
		}
	}
}

// The secret that a rule finds in a text; none if it isn't plain ASCII, as what folds to a letter never is a key.
func secretIn(detector *detect.Detector, id, text string) string {
	for _, finding := range detector.DetectString(text) {
		if finding.RuleID == id && strings.IndexFunc(finding.Secret, func(r rune) bool { return r > unicode.MaxASCII }) < 0 {
			return finding.Secret
		}
	}
	return ""
}

func check(detector *detect.Detector, out *json.Encoder) {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var given struct {
			Text string `json:"text"`
		}
		if err := json.Unmarshal(in.Bytes(), &given); err != nil {
			log.Fatal(err)
		}
		rules := []string{}
		for _, finding := range detector.DetectString(given.Text) {
			rules = append(rules, finding.RuleID)
		}
		if err := out.Encode(rules); err != nil {
			log.Fatal(err)
		}
	}
	if err := in.Err(); err != nil {
		log.Fatal(err)
	}
}
