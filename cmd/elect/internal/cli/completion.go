package cli

import (
	"fmt"
	"os"
	"strings"
)

// Completion prints what switches completion on in a shell. The shell then asks the
// program itself.
type Completion struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

var completions = map[string]string{
	"bash": "complete -C 'BIN' elect\n",
	"zsh":  "autoload -U +X bashcompinit && bashcompinit\ncomplete -C 'BIN' elect\n",
	"fish": `function __complete_elect
    set -lx COMP_LINE (commandline -cp)
    test -z (commandline -ct)
    and set COMP_LINE "$COMP_LINE "
    'BIN'
end
complete -f -c elect -a "(__complete_elect)"
`,
}

// Help shows how to use it.
func (Completion) Help() string {
	return `Examples:

  source <(elect completion bash)
  source <(elect completion zsh)
  elect completion fish | source`
}

// Run prints the lines.
func (c *Completion) Run(env *Env) error {
	bin, err := os.Executable()
	if err != nil {
		return fmt.Errorf("this program cannot be found: %w", err)
	}
	quoted := strings.ReplaceAll(bin, "'", `'\''`)
	_, err = fmt.Fprint(env.Stdout, strings.ReplaceAll(completions[c.Shell], "BIN", quoted))
	return err
}
