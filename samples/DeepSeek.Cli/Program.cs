using System.CommandLine;
using DeepSeek;
using DeepSeek.Cli;
using DeepSeek.Cli.Commands;

// Exit codes: 0 all went well; 1 the model or its file cannot do what was asked; 2 the command line is wrong; 130 stopped by Ctrl-C.
var root = new RootCommand("Chat with a DeepSeek, Qwen or Llama model that runs inside this process. Without a command and a prompt: an interactive chat with the embedded model.")
{
    new GenerateCommand(), new TokenizeCommand(), new PerplexityCommand(), new BenchCommand(), new InspectCommand(), new QuantiseCommand(),
};
var chat = new ChatCommand();
root.Subcommands.Insert(0, chat);
chat.AttachTo(root);

try
{
    ParseResult parsed = root.Parse(args);
    int code = await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
    return parsed.Errors.Count > 0 ? 2 : code;
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
