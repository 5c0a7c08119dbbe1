package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// builtin makes a wrong word an error also of the commands that cobra adds, which
// would show some help and succeed: a shell would take that for a script. And it
// completes the script for bash.
func builtin(root *cobra.Command, args []string) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = helpTopic
		case "completion":
			c.RunE = onlySub
			if bash, _, err := c.Find([]string{"bash"}); err == nil && bash != c {
				withBashWords(bash)
			}
		}
	}
}

// helpTopic takes the words of a command, and no more.
func helpTopic(help *cobra.Command, args []string) error {
	c, rest, err := help.Root().Find(args)
	if err == nil && len(rest) > 0 {
		return fmt.Errorf("unknown command %q for %q", rest[0], c.CommandPath())
	}
	return err
}

const bashLong = `To complete in this shell:

	source <(xc completion bash)

In every new one, where the package bash-completion is installed:

	xc completion bash >/etc/bash_completion.d/xc

Without that package the first line does, in ~/.bashrc.
`

// bashWords takes the place of a function of cobra's script that needs the package
// bash-completion, and is called where its _init_completion is not there: it finds
// the words, which readline breaks at "=" and ":" (COMP_WORDBREAKS), and joins what
// it has broken. The function's own caller has the variables.
const bashWords = `
__xc_init_completion()
{
    local i word rest=${COMP_LINE:0:COMP_POINT}
    COMPREPLY=() words=() cword=-1
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i == COMP_CWORD)); then # up to the cursor
            word=${rest#"${rest%%[![:space:]]*}"}
        fi
        if ((cword >= 0)) && [[ ${rest} != [[:space:]]* && (${word} == [=:]* || ${words[cword]} == *[=:]) ]]; then
            words[cword]+=${word}
        else
            words[++cword]=${word}
        fi
        rest=${rest#*"${word}"}
    done
    cur=${words[cword]} prev=${words[cword > 0 ? cword - 1 : 0]}
}
`

// withBashWords adds bashWords to cobra's script.
func withBashWords(bash *cobra.Command) {
	bash.Long = bashLong
	script := bash.RunE
	bash.RunE = func(cmd *cobra.Command, args []string) error {
		if err := script(cmd, args); err != nil {
			return err
		}
		_, err := io.WriteString(cmd.OutOrStdout(), bashWords)
		return err
	}
}
