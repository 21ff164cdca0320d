// Tools: dotnet run --project samples/Tools [question] [model]
// The model asks for functions, FunctionInvokingChatClient runs them and hands their results back, until the model answers.
using System.ComponentModel;
using DeepSeek;
using DeepSeek.Extensions;
using Microsoft.Extensions.AI;

string question = args.ElementAtOrDefault(0) ?? "How is the weather in Lisbon today?";
await using LanguageModel model = await LanguageModel.LoadAsync(args.ElementAtOrDefault(1) ?? "samples/models/tiny-reasoner");
using IChatClient client = model.AsIChatClient().AsBuilder().UseFunctionInvocation().Build();

ChatOptions options = new()
{
    Temperature = 0,
    Tools =
    [
        AIFunctionFactory.Create(GetWeather, "get_weather"),
        AIFunctionFactory.Create(SetTimer, "set_timer"),
        AIFunctionFactory.Create(RollDice, "roll_dice"),
    ],
};
ChatResponse response = await client.GetResponseAsync(question, options);

// Everything that happened is in the response's messages: thoughts, calls, results, the answer.
foreach (AIContent content in response.Messages.SelectMany(m => m.Contents))
{
    Console.WriteLine(content switch
    {
        TextReasoningContent thought => $"thought: {thought.Text}",
        FunctionCallContent call => $"call:    {call.Name}({string.Join(", ", call.Arguments!.Select(a => $"{a.Key}: {a.Value}"))})",
        FunctionResultContent result => $"result:  {result.Result}",
        TextContent text => $"answer:  {text.Text}",
        _ => "",
    });
}

[Description("Get the current weather of a city")]
static string GetWeather(string city) => city == "Lisbon" ? """{"temperature": 21, "sky": "sunny"}""" : """{"temperature": 5, "sky": "rainy"}""";

[Description("Start a timer")]
static string SetTimer(int minutes) => """{"status": "started"}""";

[Description("Roll dice")]
static string RollDice(int count, int sides) => $$"""{"sum": {{Enumerable.Range(0, count).Sum(_ => Random.Shared.Next(1, sides + 1))}}}""";
