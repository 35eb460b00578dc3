// Command grammar prints the commands of kubectl and the flags that each of them takes, one command a line:
//
//	kubectl rollout restart*: filename/f= recursive/R selector/l=
//
// argus-core/src/kubectl/grammar.txt is its output; a test compares the two.
package main

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/component-base/logs"
	"k8s.io/kubectl/pkg/cmd"
)

func main() {
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: io.Discard, ErrOut: io.Discard}
	root := cmd.NewDefaultKubectlCommandWithArgs(cmd.KubectlOptions{Arguments: []string{"kubectl"}, IOStreams: streams})
	logs.AddFlags(root.PersistentFlags())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	show(root, "")
}

// show prints a command and those below it: its names, `*` if it does something itself, then its flags.
// A flag is its name, `/x` if it has a short one, `=` if it takes a value from the next word.
func show(command *cobra.Command, path string) {
	command.InitDefaultHelpFlag()
	names := strings.Join(append([]string{command.Name()}, command.Aliases...), "|")
	path = strings.TrimSpace(path + " " + names)
	does := ""
	if command.Runnable() && !isGroup(command) {
		does = "*"
	}
	var flags []string
	add := func(flag *pflag.Flag) {
		text := flag.Name
		if flag.Shorthand != "" {
			text += "/" + flag.Shorthand
		}
		if flag.NoOptDefVal == "" {
			text += "="
		}
		flags = append(flags, text)
	}
	if command.HasParent() {
		command.LocalFlags().VisitAll(add)
	} else {
		command.PersistentFlags().VisitAll(add)
		command.LocalNonPersistentFlags().VisitAll(add)
	}
	sort.Strings(flags)
	fmt.Printf("%s%s: %s\n", path, does, strings.Join(flags, " "))
	for _, sub := range command.Commands() {
		if sub.Name() != "help" || command.HasParent() {
			show(sub, path)
		}
	}
}

// isGroup tells whether a command only refuses whatever isn't one of the commands below it.
func isGroup(command *cobra.Command) bool {
	if command.Run == nil {
		return false
	}
	// The function is inlined, so its name is that of the caller and its own.
	name := runtime.FuncForPC(reflect.ValueOf(command.Run).Pointer()).Name()
	return strings.Contains(name, "DefaultSubCommandRun")
}
