using System.CommandLine;
using DeepSeek;
using DeepSeek.Cli;
using DeepSeek.Cli.Commands;

// Exit codes: 0 all went well; 1 the model or its file cannot do what was asked; 2 the command line is wrong; 130 stopped by Ctrl-C.
var root = new RootCommand("""
    Run DeepSeek, Qwen and Llama models inside this process. Without a command it is a chat, with all of chat's options:

      DeepSeek.Cli                                            an interactive chat with the embedded model
      DeepSeek.Cli "Why is the sky blue?"                     one answer
      DeepSeek.Cli --model path/to/model.gguf                 an interactive chat with a model of yours
      DeepSeek.Cli inspect path/to/model.gguf                 what it will need, before it is loaded
    """)
{
    new ChatCommand(), new GenerateCommand(), new TokenizeCommand(), new PerplexityCommand(), new BenchCommand(), new InspectCommand(), new QuantiseCommand(),
};
bool isCommand = args.Length > 0 && (args[0] is "--help" or "-h" or "-?" or "/?" or "--version" || root.Subcommands.Any(c => c.Name == args[0] || c.Aliases.Contains(args[0])));

try
{
    ParseResult parsed = root.Parse(isCommand ? args : ["chat", .. args]);
    if (parsed.Errors.Count > 0)
    {
        foreach (string wrong in parsed.Errors.Select(e => CommandLine.Plain(e.Message)).Distinct()) Terminal.Error(wrong);
        Terminal.Notice($"See {parsed.CommandResult.Command.Name} --help.");
        return 2;
    }
    return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
}
catch (OperationCanceledException)
{
    return 130;
}
catch (ModelMemoryException e)
{
    Terminal.Error($"{e.Message} Here: --context TOKENS for a shorter context, --allow-paging to read the weights as needed, and the quantise command for a smaller model.");
    return 1;
}
catch (ModelException e)
{
    Terminal.Error(e.Message);
    return 1;
}
catch (Exception e) when (e is IOException or UnauthorizedAccessException)
{
    Terminal.Error(e.Message);
    return 1;
}
