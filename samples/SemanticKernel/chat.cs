// Semantic Kernel over a model of this process: dotnet run samples/SemanticKernel/chat.cs [question]
// A file-based app, outside Library.sln and not run by its tests: the solution's packages do without Semantic Kernel's.
// Required() lets the first round be a call that cannot fail, token by token; afterwards the model answers. Models that are not as small as this one do well with Auto().
#:package Microsoft.SemanticKernel.Core@1.82.0
#:project ../../src/DeepSeek.Extensions/DeepSeek.Extensions.csproj
#:property ManagePackageVersionsCentrally=false
#:property PublishAot=false
#:property NoWarn=$(NoWarn);SKEXP0001
using System.ComponentModel;
using DeepSeek;
using DeepSeek.Extensions;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.SemanticKernel;
using Microsoft.SemanticKernel.ChatCompletion;

await using LanguageModel model = await LanguageModel.LoadAsync("samples/models/tiny-reasoner");

// The IChatClient, with the loop that runs functions, as a chat service of the kernel.
IKernelBuilder builder = Kernel.CreateBuilder();
builder.Services.AddSingleton(model.AsIChatClient().AsBuilder().UseKernelFunctionInvocation().Build().AsChatCompletionService());
builder.Plugins.AddFromType<Home>();
Kernel kernel = builder.Build();

var history = new ChatHistory();
history.AddUserMessage(args.FirstOrDefault() ?? "How is the weather in Lisbon today?");
ChatMessageContent answer = await kernel.GetRequiredService<IChatCompletionService>().GetChatMessageContentAsync(history,
    new PromptExecutionSettings { FunctionChoiceBehavior = FunctionChoiceBehavior.Required(), ExtensionData = new Dictionary<string, object> { ["temperature"] = 0 } }, kernel);
Console.WriteLine(answer.Content);

/// <summary>What the model may do.</summary>
internal sealed class Home
{
    [KernelFunction("get_weather"), Description("Get the current weather of a city")]
    public string GetWeather(string city) => """{"temperature": 21, "sky": "sunny"}""";

    [KernelFunction("set_timer"), Description("Start a timer")]
    public string SetTimer(int minutes) => """{"status": "started"}""";
}
