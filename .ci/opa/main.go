// Command opa asks packs by the real OPA: `opa PACK_FOLDER...` reads one input a line from standard input and prints one
// line for each: per pack the five sets, or an error. It also checks the packs as `opa check --strict` does. With TIMES=n it
// asks n times about one input and prints how long an answer takes, and how long it takes to prepare the packs.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

var entryPoints = []string{"passed", "deny", "manual", "require_approval", "warn"}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(folders []string) error {
	ctx := context.Background()
	queries := map[string]rego.PreparedEvalQuery{}
	for _, folder := range folders {
		name := filepath.Base(folder)
		if err := check(folder); err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
		query, err := prepare(ctx, folder, name)
		if err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
		queries[name] = query
	}
	if times := os.Getenv("TIMES"); times != "" {
		return measure(ctx, folders, queries, times)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<24)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		var input any
		decoder := json.NewDecoder(strings.NewReader(lines.Text()))
		decoder.UseNumber()
		if err := decoder.Decode(&input); err != nil {
			return err
		}
		answers := map[string]any{}
		for name, query := range queries {
			answers[name] = ask(ctx, query, input)
		}
		text, err := json.Marshal(answers)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, string(text))
	}
	return lines.Err()
}

// measure asks all packs about the one input of standard input, so many times, JSON in and out, and prints the median and the
// 99th percentile in microseconds; then, of a tenth of that many times, those of preparing the packs.
func measure(ctx context.Context, folders []string, queries map[string]rego.PreparedEvalQuery, times string) error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(times)
	if err != nil {
		return err
	}
	err = timed(count, func() error {
		var input any
		if err := json.Unmarshal(text, &input); err != nil {
			return err
		}
		for _, query := range queries {
			if _, err := json.Marshal(ask(ctx, query, input)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return timed(count/10, func() error {
		for _, folder := range folders {
			if _, err := prepare(ctx, folder, filepath.Base(folder)); err != nil {
				return err
			}
		}
		return nil
	})
}

// timed does something so many times and prints the median and the 99th percentile of how long it took.
func timed(count int, do func() error) error {
	var took []float64
	for range count {
		start := time.Now()
		if err := do(); err != nil {
			return err
		}
		took = append(took, float64(time.Since(start).Nanoseconds())/1000)
	}
	sort.Float64s(took)
	fmt.Printf("%.1f %.1f\n", took[count/2], took[count*99/100])
	return nil
}

// check does to all files of a pack, tests too, what `opa check --strict` does.
func check(folder string) error {
	modules, err := parse(folder, func(string) bool { return true })
	if err != nil {
		return err
	}
	compiler := ast.NewCompiler().WithStrict(true)
	if compiler.Compile(modules); compiler.Failed() {
		return compiler.Errors
	}
	return nil
}

// parse reads the Rego of a folder.
func parse(folder string, wanted func(file string) bool) (map[string]*ast.Module, error) {
	modules := map[string]*ast.Module{}
	files, err := filepath.Glob(filepath.Join(folder, "*.rego"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if !wanted(file) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if modules[file], err = ast.ParseModule(file, string(text)); err != nil {
			return nil, err
		}
	}
	return modules, nil
}

// prepare makes a pack ready to be asked.
func prepare(ctx context.Context, folder, name string) (rego.PreparedEvalQuery, error) {
	options := []func(*rego.Rego){rego.StrictBuiltinErrors(true), rego.Query("data.argus.packs." + name)}
	modules, err := parse(folder, func(file string) bool { return !strings.HasSuffix(file, "_test.rego") })
	if err != nil {
		return rego.PreparedEvalQuery{}, err
	}
	for _, module := range modules {
		options = append(options, rego.ParsedModule(module))
	}
	data := map[string]any{}
	if text, err := os.ReadFile(filepath.Join(folder, "data.json")); err == nil {
		var own any
		if err := json.Unmarshal(text, &own); err != nil {
			return rego.PreparedEvalQuery{}, err
		}
		data["argus_data"] = map[string]any{name: own}
	}
	options = append(options, rego.Store(inmem.NewFromObject(data)))
	return rego.New(options...).PrepareForEval(ctx)
}

func ask(ctx context.Context, query rego.PreparedEvalQuery, input any) map[string]any {
	results, err := query.Eval(ctx, rego.EvalInput(input))
	if err != nil || len(results) != 1 {
		return map[string]any{"error": fmt.Sprint(err)}
	}
	pack, _ := results[0].Expressions[0].Value.(map[string]any)
	sets := map[string]any{}
	for _, name := range entryPoints {
		sets[name] = []any{}
		if set, found := pack[name]; found {
			sets[name] = set
		}
	}
	return sets
}
